/** ONNX model files to the graph IR. */
import { ArgumentTypeError, ModelFormatError, UnsupportedOpError } from '../errors.ts';

import { type Attr, type Graph, type Node, needsOf, type ValueInfo } from '../graph/ir.ts';
import { type External, isExternal, locationOf, toDense, toTensor, typeOf } from './tensors.ts';
import { type Build, constantOf, upgrade } from './upgrade.ts';
import {
  type AttributeProto,
  decode,
  type FunctionProto,
  type GraphProto,
  MODEL,
  type ModelProto,
  type NodeProto,
  type OpsetProto,
  type TensorProto,
  type ValueInfoProto,
} from './wire.ts';

export interface ReadOptions {
  /**
   * Gives the bytes of an external data file. The name is a relative path without `..`, as the model has it; whether to
   * read it, and from where, is the caller's decision.
   */
  resolveExternal?: (location: string) => Uint8Array | Promise<Uint8Array>;
  /** What messages call the file; `model` where left out. */
  name?: string;
}

/** Functions calling functions can multiply; a model has at most this many nodes once they are inlined. */
const MAX_NODES = 100_000;

/** Names visible in a graph or function, as the file has them, to names unique in the whole model. */
interface Scope {
  names: Map<string, string>;
  parent?: Scope;
}

/** What nodes are read against. */
interface Context {
  opsets: Map<string, number>;
  /** Inside a function: the attributes of the call. */
  attrs?: Map<string, Attr>;
  /** Calls around this. */
  depth: number;
}

const domainOf = (domain?: string) => (domain === 'ai.onnx' || !domain ? '' : domain);
const opsetsOf = (list: OpsetProto[] = []) => new Map(list.map((o) => [domainOf(o.domain), o.version ?? 0]));
const keyOf = (f: { domain?: string; name?: string; overload?: string }) =>
  `${domainOf(f.domain)}\0${f.name ?? ''}\0${f.overload ?? ''}`;

class Reader {
  readonly file: Uint8Array;
  readonly external: External;
  readonly functions = new Map<string, FunctionProto>();
  readonly ranks = new Map<string, number>();
  /** Unique value names, and the number to try next for each. */
  private taken = new Map<string, number>();
  private nodeNames = new Map<string, number>();
  private count = 0;

  constructor(file: Uint8Array, external: External) {
    this.file = file;
    this.external = external;
  }

  model(proto: ModelProto): Graph {
    for (const f of proto.functions ?? []) this.functions.set(keyOf(f), f);
    const scope: Scope = { names: new Map() };
    return this.graph(proto.graph!, scope, { opsets: opsetsOf(proto.opsets), depth: 0 }, 'graph');
  }

  graph(proto: GraphProto, scope: Scope, context: Context, where: string): Graph {
    const graph: Graph = { name: proto.name ?? '', inputs: [], outputs: [], nodes: [], constants: new Map() };
    for (const [i, t] of (proto.initializers ?? []).entries()) {
      const place = t.name ? `initializer "${t.name}"` : `${where}.initializer[${i}]`;
      const tensor = toTensor(t, this.file, place, this.external);
      graph.constants.set(this.declare(scope, t.name, place), tensor);
    }
    for (const [i, s] of (proto.sparse ?? []).entries()) {
      const name = s.values?.name;
      const place = name ? `sparse initializer "${name}"` : `${where}.sparse_initializer[${i}]`;
      graph.constants.set(this.declare(scope, name, place), toDense(s, this.file, place, this.external));
    }
    for (const [name, tensor] of graph.constants) this.ranks.set(name, tensor.dims.length);
    for (const v of proto.inputs ?? []) {
      // Up to IR version 3 an initializer had to be listed as an input too; later that makes it a default.
      if (graph.constants.has(scope.names.get(v.name ?? '') ?? '')) continue;
      const name = this.declare(scope, v.name, `input "${v.name}"`);
      graph.inputs.push(this.value(v, name, 'Input', !!scope.parent));
    }
    for (const n of proto.nodes ?? []) this.declareOutputs(n, scope);
    for (const v of [...(proto.inputs ?? []), ...(proto.outputs ?? []), ...(proto.values ?? [])]) {
      const rank = v.type?.tensor?.shape && (v.type.tensor.shape.dims ?? []).length;
      const name = scope.names.get(v.name ?? '');
      if (rank !== undefined && name !== undefined) this.ranks.set(name, rank);
    }
    this.nodes(proto.nodes ?? [], scope, context, graph);
    for (const v of proto.outputs ?? []) {
      const name = this.resolve(scope, v.name ?? '', `output "${v.name}"`);
      if (!name) throw new ModelFormatError(where, 'an output has no name');
      graph.outputs.push(this.value(v, name, 'Output', !!scope.parent));
    }
    sort(graph, where);
    return graph;
  }

  /** Makes the name known in its scope, and unique in the model. */
  declare(scope: Scope, name: string | undefined, where: string): string {
    if (!name) throw new ModelFormatError(where, 'has no name');
    if (scope.names.has(name)) throw new ModelFormatError(where, `value "${name}" is defined twice`);
    const unique = this.unique(name, this.taken);
    scope.names.set(name, unique);
    return unique;
  }

  declareOutputs(n: NodeProto, scope: Scope): void {
    for (const name of n.outputs ?? []) if (name) this.declare(scope, name, `node "${n.name || n.op}"`);
  }

  /** The name, or the name with a number that makes it one not yet there. */
  unique(name: string, among: Map<string, number>): string {
    let unique = name;
    let i = among.get(name);
    if (i !== undefined) {
      while (among.has((unique = `${name}_${i}`))) i++;
      // Where to go on looking, so that many of one name take no time.
      among.set(name, i + 1);
    }
    among.set(unique, 1);
    return unique;
  }

  resolve(scope: Scope | undefined, name: string, where: string): string {
    if (!name) return '';
    for (; scope; scope = scope.parent) {
      const unique = scope.names.get(name);
      if (unique !== undefined) return unique;
    }
    throw new ModelFormatError(where, `value "${name}" is not defined`);
  }

  value(v: ValueInfoProto, name: string, kind: string, inner: boolean): ValueInfo {
    const where = `${kind.toLowerCase()} "${name}"`;
    const t = v.type ?? {};
    for (const other of ['sequence', 'map', 'sparse', 'optional'] as const) {
      if (t[other]) throw new UnsupportedOpError(kind, name, `${other} values are not supported`);
    }
    // Inside a branch the type may be left to inference; nobody reads it.
    if (!t.tensor?.elemType && inner) return { name, type: 'float32', dims: null };
    if (!t.tensor) throw new ModelFormatError(where, 'has no type');
    const dims = t.tensor.shape && (t.tensor.shape.dims ?? []);
    return {
      name,
      type: typeOf(t.tensor.elemType, kind, name),
      // Some exporters write -1 for a dimension that is not known.
      dims: dims ? dims.map((d) => (d.value !== undefined && d.value >= 0 ? d.value : d.param || null)) : null,
    };
  }

  attribute(a: AttributeProto, scope: Scope, context: Context, where: string): Attr | undefined {
    if (a.ref) {
      if (!context.attrs) throw new ModelFormatError(where, `refers to attribute "${a.ref}" outside of a function`);
      return context.attrs.get(a.ref);
    }
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    // The first IR version had no type: take what is there.
    const type =
      a.type ||
      [a.f, a.i, a.s, a.t, a.g, a.floats, a.ints, a.strings].findIndex((value) => value !== undefined) + 1 ||
      (a.sparse && 11);
    if (type === 1) return a.f ?? 0;
    if (type === 2) return a.i ?? 0;
    if (type === 3) return a.s ? text(a.s) : '';
    if (type === 4 && a.t) return toTensor(a.t, this.file, where, this.external);
    if (type === 5 && a.g) return this.graph(a.g, { names: new Map(), parent: scope }, context, where);
    if (type === 6) return a.floats ?? [];
    if (type === 7) return a.ints ?? [];
    if (type === 8) return (a.strings ?? []).map(text);
    if (type === 11 && a.sparse) return toDense(a.sparse, this.file, where, this.external);
    if (type && type > 8 && type < 15) throw new UnsupportedOpError('Attribute', where, `of type ${type}`);
    throw new ModelFormatError(where, 'has no value');
  }

  nodes(protos: NodeProto[], scope: Scope, context: Context, graph: Graph): void {
    for (const n of protos) {
      if (!n.op) throw new ModelFormatError(`node "${n.name ?? ''}"`, 'has no operator');
      if (++this.count > MAX_NODES) throw new ModelFormatError(`node "${n.name}"`, `is one of more than ${MAX_NODES}`);
      const name = this.unique(n.name || n.op, this.nodeNames);
      const where = `node "${name}" (${n.op})`;
      const domain = domainOf(n.domain);
      const local = this.functions.get(keyOf({ domain, name: n.op, overload: n.overload }));
      if (domain && !local) throw new UnsupportedOpError(n.op, name, `domain "${domain}" is not supported`);
      const node: Node = {
        op: n.op,
        name,
        inputs: (n.inputs ?? []).map((i) => this.resolve(scope, i, where)),
        outputs: (n.outputs ?? []).map((o) => this.resolve(scope, o, where)),
        attrs: {},
      };
      for (const a of n.attributes ?? []) {
        const place = `${where} attribute "${a.name ?? ''}"`;
        if (!a.name || a.name === '__proto__') throw new ModelFormatError(place, 'is no name');
        if (Object.hasOwn(node.attrs, a.name)) throw new ModelFormatError(place, 'given twice');
        const value = this.attribute(a, scope, context, place);
        if (value !== undefined) node.attrs[a.name] = value;
      }
      if (local) this.call(local, node, context, graph);
      else if (n.op === 'Constant') {
        if (node.outputs.length !== 1 || !node.outputs[0]) throw new ModelFormatError(where, 'has one output');
        const value = constantOf(node);
        graph.constants.set(node.outputs[0], value);
        this.ranks.set(node.outputs[0], value.dims.length);
      } else {
        const opset = context.opsets.get('');
        if (opset === undefined) throw new ModelFormatError('model', 'does not say which opset of ai.onnx it uses');
        upgrade(node, opset, this.build(graph));
      }
    }
  }

  build(graph: Graph): Build {
    const build: Build = {
      push: (node) => graph.nodes.push(node),
      constant: (value, hint) => {
        const name = this.unique(hint, this.taken);
        graph.constants.set(name, value);
        return name;
      },
      op: (hint, op, inputs, attrs = {}) => {
        const output = this.unique(hint, this.taken);
        build.push({ op, name: this.unique(hint, this.nodeNames), inputs, outputs: [output], attrs });
        return output;
      },
      rank: (value) => this.ranks.get(value),
    };
    return build;
  }

  /** Puts the function's nodes in the place of the call. */
  call(f: FunctionProto, node: Node, context: Context, graph: Graph): void {
    const where = `node "${node.name}" (${node.op})`;
    if (context.depth > 50) throw new ModelFormatError(where, 'functions call each other without end');
    const scope: Scope = { names: new Map() };
    for (const [i, name] of (f.inputs ?? []).entries()) scope.names.set(name, node.inputs[i] ?? '');
    for (const n of f.nodes ?? []) this.declareOutputs(n, scope);
    const attrs = new Map(Object.entries(node.attrs));
    const inner: Context = { opsets: opsetsOf(f.opsets), attrs, depth: context.depth + 1 };
    if (!inner.opsets.has('') && context.opsets.has('')) inner.opsets.set('', context.opsets.get('')!);
    for (const a of f.defaults ?? []) {
      if (!a.name || attrs.has(a.name)) continue;
      attrs.set(a.name, this.attribute(a, scope, inner, `${where} attribute "${a.name}"`)!);
    }
    this.nodes(f.nodes ?? [], scope, inner, graph);
    for (const [i, output] of node.outputs.entries()) {
      if (!output) continue;
      const from = this.resolve(scope, f.outputs?.[i] ?? '', where);
      if (!from) throw new ModelFormatError(where, `the function has no output ${i}`);
      const name = this.unique(`${node.name}/${f.outputs![i]}`, this.nodeNames);
      graph.nodes.push({ op: 'Identity', name, inputs: [from], outputs: [output], attrs: {} });
    }
  }
}

/** Orders the nodes so that each comes after what it needs; kept as they are where the file has them so. */
function sort(graph: Graph, where: string): void {
  const makers = new Map<string, number>();
  graph.nodes.forEach((node, i) => {
    for (const o of node.outputs) if (o) makers.set(o, i);
  });
  const waits = graph.nodes.map(
    (node) => new Set(needsOf(node).flatMap((name) => (makers.has(name) ? [makers.get(name)!] : []))),
  );
  if (waits.every((set, i) => [...set].every((j) => j < i))) return;
  const users: number[][] = graph.nodes.map(() => []);
  waits.forEach((set, i) => {
    for (const j of set) users[j].push(i);
  });
  const left = waits.map((set) => set.size);
  const order = left.flatMap((n, i) => (n ? [] : [i]));
  for (let at = 0; at < order.length; at++) {
    for (const i of users[order[at]]) if (!--left[i]) order.push(i);
  }
  const stuck = left.findIndex((n) => n > 0);
  if (stuck >= 0) {
    throw new ModelFormatError(where, `node "${graph.nodes[stuck].name}" depends on its own output, or on a cycle`);
  }
  graph.nodes = order.map((i) => graph.nodes[i]);
}

function parse(bytes: Uint8Array, name = 'model'): ModelProto {
  if (!(bytes instanceof Uint8Array)) throw new ArgumentTypeError('bytes', 'a Uint8Array', bytes);
  if (!bytes.length) throw new ModelFormatError(name, 'the file is empty');
  const head = String.fromCharCode(...bytes.subarray(0, 24));
  // A text file: an error page of a server, JSON, a Git LFS pointer.
  if (/^[\t\n\r -~]{24}$/.test(head) || /^\s*[<{]/.test(head)) {
    throw new ModelFormatError(name, `this is not an ONNX file; it begins with ${JSON.stringify(head)}`);
  }
  if (head.startsWith('\x1f\x8b') || head.startsWith('PK\x03\x04'))
    throw new ModelFormatError(name, 'this is compressed (gzip or zip): unpack it first');
  const proto = decode<ModelProto>(bytes, MODEL, name);
  if (!proto.graph) throw new ModelFormatError(name, 'has no graph; is this an ONNX file?');
  return proto;
}

/** Every tensor of the file with external data, with its place. */
function* externals(graph: GraphProto): Generator<TensorProto> {
  for (const t of graph.initializers ?? []) if (isExternal(t)) yield t;
  for (const s of graph.sparse ?? []) {
    for (const t of [s.values, s.indices]) if (t && isExternal(t)) yield t;
  }
  for (const n of graph.nodes ?? []) {
    for (const { t, g } of n.attributes ?? []) {
      if (t && isExternal(t)) yield t;
      if (g) yield* externals(g);
    }
  }
}

function locationsOf(proto: ModelProto): Set<string> {
  const names = new Set<string>();
  for (const graph of [proto.graph!, ...(proto.functions ?? [])] as GraphProto[]) {
    for (const t of externals(graph)) names.add(locationOf(t, `tensor "${t.name ?? ''}"`));
  }
  return names;
}

function build(bytes: Uint8Array, proto: ModelProto, files: Map<string, unknown>): Graph {
  const external: External = (location, where) => {
    const file = files.get(location);
    if (file === undefined) {
      throw new ModelFormatError(where, `its data is in the file "${location}": give options.resolveExternal`);
    }
    if (!(file instanceof Uint8Array)) {
      throw new ArgumentTypeError('resolveExternal', `a function that gives a Uint8Array for "${location}"`, file);
    }
    return file;
  };
  return new Reader(bytes, external).model(proto);
}

/**
 * Reads an ONNX model: opsets 6 and up, brought to the newest form; model-local functions are inlined. Weights are views
 * of `bytes` where alignment allows, so leave it unchanged while the graph is in use.
 * @throws ModelFormatError when the file is truncated, corrupt or inconsistent; SparseFormatError for a bad sparse
 *   initializer; UnsupportedOpError for element types, operator domains and opsets that are not supported;
 *   ArgumentTypeError
 */
export async function readOnnx(bytes: Uint8Array, options: ReadOptions = {}): Promise<Graph> {
  const proto = parse(bytes, options.name);
  const files = new Map<string, unknown>();
  const { resolveExternal } = options;
  if (resolveExternal) for (const name of locationsOf(proto)) files.set(name, await resolveExternal(name));
  return build(bytes, proto, files);
}

/** {@link readOnnx} without waiting; `resolveExternal` must give bytes at once. */
export function readOnnxSync(bytes: Uint8Array, options: ReadOptions = {}): Graph {
  const proto = parse(bytes, options.name);
  const files = new Map<string, unknown>();
  const { resolveExternal } = options;
  if (resolveExternal) for (const name of locationsOf(proto)) files.set(name, resolveExternal(name));
  return build(bytes, proto, files);
}
