import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Engine, type EngineOptions } from '../src/engine.ts';
import { WorkerError } from '../src/errors.ts';
import { spmmCalls } from '../src/kernel/spmm.ts';
import { Model } from '../src/model.ts';
import { packSpmm } from '../src/pack/spmm.ts';
import { Composite } from '../src/sparse/composite.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { Tensor } from '../src/tensor.ts';
import { Control, MAX_CHUNKS, Patience, WORD } from '../src/threads/control.ts';
import type { WorkerHandle } from '../src/threads/host.ts';
import { wantedThreads } from '../src/threads/start.ts';
import type { WorkerStart } from '../src/threads/worker.ts';
import { threads as host } from './support/assets.ts';
import { randf, rng } from './support/kernels.ts';
import { spmmVariants } from './support/spmm.ts';

/** [rows][cols] with about `density` of nonzeros, in groups of `g` rows. */
function sparse(rows: number, cols: number, density: number, g: number, seed = 1): Float32Array {
  const keep = randf(Math.ceil(rows / g) * cols, seed + 1);
  const kept = (i: number) => keep[Math.floor(i / cols / g) * cols + (i % cols)] < 2 * density - 1;
  return randf(rows * cols, seed).map((v, i) => (kept(i) ? v : 0));
}

/** Y, in panels or plain, as the engine computes it. */
function product(engine: Engine, variant: string, rows: number, cols: number, columns: number, plain = false) {
  const { arena } = engine;
  const v = spmmVariants().find((s) => s.name === variant)!;
  const packed = packSpmm(sparse(rows, cols, 0.3, 4), rows, cols, v, randf(rows, 3));
  const panels = Math.ceil(columns / 16);
  const at = arena.alloc(packed.bytes);
  const x = arena.alloc(panels * cols * 64);
  const yBytes = plain ? rows * columns * 4 + 64 : panels * rows * 64;
  const y = arena.alloc(yBytes);
  arena.view('uint8', at, packed.bytes).set(packed.data);
  arena.view('float32', x, panels * cols * 16).set(randf(panels * cols * 16, 5));
  arena.view('uint8', y, yBytes).fill(0xc5);
  const io = plain
    ? { yPanelStride: 64, yChannelStride: 4 * columns }
    : { yPanelStride: rows * 64, yChannelStride: 64 };
  engine.bind(spmmCalls(packed, at, { x, xPanelStride: cols * 64, y, ...io, columns, min: -3, max: 3 }))();
  const out = arena.view('float32', y, yBytes / 4).slice();
  for (const block of [at, x, y]) arena.release(block);
  return out;
}

const same = (a: Float32Array, b: Float32Array) => Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0;

const MOBILENET = gunzipSync(readFileSync('test/fixtures/models/mbv1-050-g4-80.onnx.gz'));
const image = (n = 1, seed = 1) => ({ image: new Tensor('float32', randf(n * 96 * 96, seed), [n, 1, 96, 96]) });
const logits = (model: Model, n = 1) => model.runSync(image(n)).logits.data as Float32Array;

/** Engines with what they started. */
async function watched(options: EngineOptions) {
  const started: { data: WorkerStart; handle: WorkerHandle & Worker }[] = [];
  const start = host.start.bind(host);
  const spy = vi.spyOn(host, 'start').mockImplementation(async (data, on) => {
    const handle = await start(data, on);
    started.push({ data, handle: handle as never });
    return handle;
  });
  const engine = await Engine.create(options);
  return { engine, started, spy };
}
afterEach(() => vi.restoreAllMocks());

const ended = (w: Worker) =>
  new Promise<void>((resolve) => (w.threadId < 0 ? resolve() : w.once('exit', () => resolve())));
const until = async (condition: () => boolean) => {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((r) => setTimeout(r, 10));
  expect(condition()).toBe(true);
};

describe('bit-identical to one thread', () => {
  test('SpMM of ragged shapes', async () => {
    const engines = await Promise.all([1, 2, 3].map((threads) => Engine.create({ threads })));
    expect(engines.map((e) => e.info.threads)).toEqual([1, 2, 3]);
    const shapes = [
      [67, 300, 197],
      [515, 128, 49],
      [203, 300, 17],
    ];
    for (const { name } of spmmVariants()) {
      for (const [rows, cols, columns] of shapes) {
        const plain = columns % 2 === 1;
        const [one, ...others] = engines.map((e) => product(e, name, rows, cols, columns, plain));
        for (const y of others) expect(same(one, y), `${name} ${rows}x${cols}x${columns}`).toBe(true);
      }
    }
    for (const e of engines) e.dispose();
  });

  test('products of sparse matrices, few columns and many, tokens and features', async () => {
    const [rows, cols] = [520, 300];
    const w = SparseMatrix.fromDense(sparse(rows, cols, 0.3, 4), rows, cols, { format: 'csr' });
    const engines = await Promise.all([1, 2].map((threads) => Engine.create({ threads, deterministic: true })));
    for (const columns of [1, 7, 50, 400]) {
      for (const layout of ['features', 'tokens'] as const) {
        const x = randf(cols * columns);
        const [one, two] = await Promise.all(engines.map((e) => e.spmm(w, x, { columns, layout })));
        expect(same(one, two), `${columns} ${layout}`).toBe(true);
        const operator = await engines[1].prepare(w, { columns, layout });
        expect(same(one, operator.run(x))).toBe(true);
        operator.dispose();
      }
    }
    for (const e of engines) e.dispose();
  });

  test('int8 products and decode, quantised or not', async () => {
    const [rows, cols] = [1030, 900];
    const w = SparseMatrix.fromDense(sparse(rows, cols, 0.3, 4), rows, cols, { dtype: 'int8' });
    const engines = await Promise.all([1, 2, 3].map((threads) => Engine.create({ threads })));
    for (const columns of [1, 5, 40, 400]) {
      for (const activations of ['float32', 'int8', 'uint7'] as const) {
        const x = randf(cols * columns);
        const options = { columns, layout: 'tokens', activations } as const;
        const [one, ...others] = await Promise.all(
          engines.map(async (e) => {
            const operator = await e.prepare(w, options);
            return Array.from({ length: 5 }, () => operator.run(x));
          }),
        );
        for (const y of [...one, ...others.flat()]) expect(same(one[0], y), `${columns} ${activations}`).toBe(true);
      }
    }
    for (const e of engines) e.dispose();
  });

  test('MobileNet, sparse and dense, one image and three', async () => {
    for (const sparsity of ['auto', 'off'] as const) {
      const answers: Float32Array[][] = [];
      for (const threads of [1, 2, 3]) {
        const model = await Model.load(MOBILENET, { threads, sparsity, deterministic: true });
        expect(model.engine.info.threads).toBe(threads);
        answers.push([logits(model), logits(model, 3), (await model.run(image())).logits.data as Float32Array]);
        model.dispose();
      }
      for (const more of answers.slice(1)) expect(more.every((y, i) => same(y, answers[0][i]))).toBe(true);
    }
  });
});

describe('workers', () => {
  test('none unless asked for', async () => {
    for (const options of [{}, { threads: 1 }]) {
      const { engine, spy } = await watched(options);
      expect(engine.info.threads).toBe(1);
      expect(engine.info.threadsWhy).toMatch(/asked/);
      expect(spy).not.toHaveBeenCalled();
      engine.dispose();
    }
  });

  test("'auto' takes what the hardware has", async () => {
    vi.spyOn(host, 'hardware').mockResolvedValue(3);
    vi.stubGlobal('navigator', undefined);
    const engine = await Engine.create({ threads: 'auto' });
    vi.unstubAllGlobals();
    expect(engine.info).toMatchObject({ threads: 3, threadsWhy: expect.stringMatching(/3 hardware threads/) });
    engine.dispose();
  });

  test('end with the engine; twice does no harm', async () => {
    const { engine, started } = await watched({ threads: 3 });
    expect(started.length).toBe(2);
    product(engine, 'f32_group4_spmm_8x4', 96, 300, 384);
    engine.dispose();
    engine.dispose();
    await Promise.all(started.map(({ handle }) => ended(handle)));
  });

  test('do not keep the process alive, disposed or not', () => {
    for (const end of ['', 'engine.dispose();']) {
      const script = `
        import { Engine } from './dist/index.node.js';
        const engine = await Engine.create({ threads: 3 });
        console.log(engine.info.threads);
        ${end}`;
      const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 20_000 });
      expect(out.toString().trim()).toBe('3');
    }
  });

  test('take what the leader publishes', async () => {
    const { engine, started } = await watched({ threads: 2 });
    // A job that the leader does not lead: the worker must do all of it.
    const words = new Int32Array(started[0].data.control);
    const { arena } = engine;
    const x = arena.alloc(64);
    arena.view('float32', x, 16).fill(2);
    const id = started[0].data.names.indexOf('f32_plain_neg');
    new Control(started[0].data.control).offer(Float64Array.of(2, 9, id, 5, x, x, 16, 0, 0), 1);
    Atomics.notify(words, WORD.open);
    await until(() => Atomics.load(words, WORD.pending) === 0);
    expect(arena.view('float32', x, 16).slice()).toEqual(new Float32Array(16).fill(-2));
    engine.dispose();
  });

  test('of two engines do not meet', async () => {
    const [a, b] = await Promise.all([Engine.create({ threads: 2 }), Engine.create({ threads: 2 })]);
    const [one, two] = [await Model.load(MOBILENET, { engine: a }), await Model.load(MOBILENET, { engine: b })];
    const first = logits(one);
    expect(same(first, logits(two))).toBe(true);
    a.dispose();
    expect(same(first, logits(two))).toBe(true);
    b.dispose();
  });
});

describe('chunks', () => {
  test('every thread has its own first, then what others left, from the end of their shares', () => {
    const control = new Control();
    expect(control.take(0, 2)).toBe(-1);
    control.offer(new Float64Array(8), 7);
    expect(Atomics.load(control.words, WORD.open)).toBe(7);
    const order = [1, 0, 0, 0, 0, 0, 0, 1].map((thread) => control.take(thread, 2));
    expect(order).toEqual([3, 0, 1, 2, 6, 5, 4, -1]);
    expect(Atomics.load(control.words, WORD.open)).toBe(0);
  });

  test.each([1, 31, 32, 33, 64, 511, MAX_CHUNKS])('%i are each taken once, by three threads', (count) => {
    const control = new Control();
    for (let job = 0; job < 2; job++) {
      control.offer(new Float64Array(1), count);
      const taken: number[] = [];
      for (let turn = 0; taken.length < count; turn++) taken.push(control.take(turn % 3, 3));
      expect(taken.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      for (let thread = 0; thread < 3; thread++) expect(control.take(thread, 3)).toBe(-1);
    }
    control.offer(new Float64Array(1), count);
    control.take(1, 3);
    expect(control.takeAll()).toBe(count - 1);
    expect(control.take(0, 3)).toBe(-1);
    expect(Atomics.load(control.words, WORD.open)).toBe(0);
  });
});

test('sums of matrices whose formats have tiles of different heights: the bits of one thread', async () => {
  const engines = await Promise.all([1, 2, 3].map((threads) => Engine.create({ threads, deterministic: true })));
  for (const [n, columns] of [
    [128, 48],
    [250, 32],
    [770, 32],
  ]) {
    const keep = rng(n);
    const sparse = (density: number, shared: number, seed: number): Float32Array => {
      const used = new Map<number, boolean>();
      return randf(n * n, seed).map((v, i) => {
        const at = Math.floor(i / n / shared) * n + (i % n);
        if (!used.has(at)) used.set(at, (keep() + 1) / 2 < density);
        return used.get(at) ? v : 0;
      });
    };
    const kinds = [sparse(1, 1, 1), sparse(0.05, 1, 2), sparse(0.2, 2, 3), sparse(0.2, 4, 4)];
    const x = randf(n * columns, 5);
    for (const [a, b] of [0, 1, 2, 3].flatMap((i) => [0, 1, 2, 3].map((j) => [kinds[i], kinds[j]]))) {
      const w = Composite.sum({ data: a, rows: n, cols: n }, { data: b, rows: n, cols: n });
      const [one, ...others] = await Promise.all(engines.map((e) => e.spmm(w, x, { columns })));
      for (const y of others) expect(same(y, one)).toBe(true);
    }
  }
  for (const e of engines) e.dispose();
});

describe('memory', () => {
  test('grows while workers run, and results are the caller’s own', async () => {
    const engine = await Engine.create({ threads: 2 });
    const model = await Model.load(MOBILENET, { engine });
    const small = logits(model);
    expect(small.buffer).toBeInstanceOf(ArrayBuffer);
    const before = engine.arena.size;
    const many = logits(model, 24);
    expect(engine.arena.size).toBeGreaterThan(before);
    const again = logits(model);
    expect(same(small, again)).toBe(true);
    expect(many.length).toBe(240);
    const profile = model.profile(undefined, 1);
    expect(profile.memoryBytes).toBe(engine.arena.size);
    engine.dispose();
  });

  test('has the limit that was asked for', async () => {
    const engine = await Engine.create({ threads: 2, maxBytes: 3e6 });
    expect(() => engine.arena.alloc(4e6)).toThrow(expect.objectContaining({ code: 'OUT_OF_MEMORY' }));
    engine.arena.alloc(2e6);
    engine.dispose();
  });
});

/**
 * Lets a chunk be taken that nobody will finish, as by a worker that is killed in the middle of it: the leader's kernels do it on
 * the way, once armed.
 */
function robbed(engine: Engine, buffer: SharedArrayBuffer): { arm(): void } {
  const control = new Control(buffer);
  let armed = false;
  for (const [name, kernel] of Object.entries(engine.kernels)) {
    engine.kernels[name] = (...args) => {
      if (armed && control.take(1, 2) >= 0) armed = false;
      return kernel(...args);
    };
  }
  return {
    arm() {
      armed = true;
    },
  };
}

describe('failures', () => {
  test('a worker lost in the middle of a run: WorkerError within a second, then all is well', async () => {
    const { engine, started } = await watched({ threads: 2 });
    const robber = robbed(engine, started[0].data.control);
    const model = await Model.load(MOBILENET, { engine });
    const before = logits(model);
    robber.arm();
    let start = 0;
    let error: unknown;
    // A worker that is awake may take every chunk before the leader has begun its own.
    for (let n = 0; n < 500 && !(error instanceof Error); n++) {
      start = performance.now();
      error = await model.run(image()).catch((e) => e);
    }
    const took = performance.now() - start;
    expect(error).toBeInstanceOf(WorkerError);
    expect(error).toMatchObject({ name: 'WorkerError', code: 'WORKER' });
    // 0.7 s where the machine has time for it.
    expect(took).toBeLessThan(3000);
    // At once there is nobody to share with, and memory that a lost worker might still write.
    expect(() => logits(model)).toThrow(WorkerError);
    expect(same((await model.run(image())).logits.data as Float32Array, before)).toBe(true);
    expect(same(logits(model), before)).toBe(true);
    expect(started.length).toBe(2);
    await ended(started[0].handle);
    engine.dispose();
  });

  test('a worker that ends between runs is replaced, and nobody notices', async () => {
    const { engine, started } = await watched({ threads: 2 });
    const model = await Model.load(MOBILENET, { engine });
    const before = logits(model);
    await started[0].handle.terminate();
    expect(same(logits(model), before)).toBe(true);
    await until(() => started.length === 2);
    await until(() => started[1].handle.threadId > 0);
    expect(same((await model.run(image())).logits.data as Float32Array, before)).toBe(true);
    engine.dispose();
  });

  test('a trap poisons its engine and no other', async () => {
    const other = await Model.load(MOBILENET, { threads: 2 });
    const engine = await Engine.create({ threads: 2 });
    const n = 100_000;
    const x = engine.arena.alloc(4 * n);
    const run = engine.bind([{ kernel: 'f32_plain_exp', args: [0xfff00000, x, n, 0, 0] }]);
    expect(() => engine.guard(run)).toThrow(WebAssembly.RuntimeError);
    expect(() => engine.guard(run)).toThrow(expect.objectContaining({ code: 'POISONED' }));
    engine.dispose();
    expect(logits(other).length).toBe(10);
    other.dispose();
  });

  test('a trap in a worker alone is one of the engine', async () => {
    const engine = await Engine.create({ threads: 2 });
    const n = 1_000_000;
    const y = engine.arena.alloc(4 * n);
    engine.arena.alloc(4 * n);
    // The second half of X is beyond the memory: the worker's share.
    const x = engine.arena.size - 2 * n;
    const run = engine.bind([{ kernel: 'f32_plain_sqrt', args: [x, y, n, 0, 0] }]);
    let message = '';
    const attempt = () => {
      try {
        run();
      } catch (error) {
        expect(error).toBeInstanceOf(WebAssembly.RuntimeError);
        message = (error as Error).message;
        throw error;
      }
    };
    for (let i = 0; i < 500 && !/in a worker/.test(message); i++) expect(attempt).toThrow();
    expect(message).toMatch(/in a worker/);
    expect(() => engine.guard(run)).toThrow(WebAssembly.RuntimeError);
    expect(() => engine.check()).toThrow(expect.objectContaining({ code: 'POISONED' }));
    engine.dispose();
  });

  test('a worker script that does not load: one thread, and why', async () => {
    for (const failure of ['missing', 'throws'] as const) {
      vi.spyOn(host, 'start').mockImplementation(async (_data, on) => {
        if (failure === 'throws') throw new Error('blocked by policy');
        queueMicrotask(() => on.ended('not found'));
        return { terminate() {} };
      });
      const engine = await Engine.create({ threads: 2 });
      expect(engine.info.threads).toBe(1);
      expect(engine.info.threadsWhy).toMatch(failure === 'throws' ? /policy/ : /not found/);
      expect(product(engine, 'f32_group4_spmm_8x4', 96, 300, 384).length).toBeGreaterThan(0);
      engine.dispose();
    }
  });

  test('no shared memory, no workers: one thread, and why', async () => {
    expect(await wantedThreads(4, 'edge workers have no threads')).toEqual({
      threads: 1,
      why: 'edge workers have no threads',
    });
    vi.stubGlobal('crossOriginIsolated', false);
    const engine = await Engine.create({ threads: 2 });
    vi.unstubAllGlobals();
    expect(engine.info).toMatchObject({ threads: 1, threadsWhy: expect.stringMatching(/Cross-Origin-Opener-Policy/) });
    engine.dispose();
    const wasm = readFileSync('dist/wasm/sparsimd.simd128.wasm');
    const own = await Engine.create({ threads: 2, wasm, isa: 'simd128' });
    expect(own.info).toMatchObject({ threads: 1, threadsWhy: expect.stringMatching(/-threads\.wasm/) });
    own.dispose();
    const threaded = readFileSync('dist/wasm/sparsimd.simd128-threads.wasm');
    const given = await Engine.create({ threads: 2, wasm: threaded, isa: 'simd128' });
    expect(given.info.threads).toBe(2);
    given.dispose();
    await expect(Engine.create({ wasm: threaded, isa: 'simd128' })).rejects.toMatchObject({ code: 'ASSET' });
  });

  test.each([0, -1, Number.NaN, 1.5, 65, Infinity])('threads %s: ArgumentRangeError', async (threads) => {
    await expect(Engine.create({ threads })).rejects.toMatchObject({ code: 'ARGUMENT_RANGE', message: /"threads"/ });
  });

  test.each(['x', '2', null, true, {}])('threads %j: ArgumentTypeError', async (threads) => {
    await expect(Engine.create({ threads: threads as never })).rejects.toMatchObject({ code: 'ARGUMENT_TYPE' });
    await expect(Model.load(MOBILENET, { threads: threads as never })).rejects.toMatchObject({ code: 'ARGUMENT_TYPE' });
  });
});

describe('how long to look before sleeping', () => {
  const msAfter = (events: (p: Patience) => void): number => {
    const p = new Patience(0.08);
    events(p);
    return p.ms;
  };
  const inVain = (n: number, ms: number) => (p: Patience) => {
    for (let i = 0; i < n; i++) p.slept(ms);
  };

  test('half as long after every time in vain, twice after each that was not', () => {
    expect(msAfter(() => {})).toBe(0.08);
    expect(msAfter(inVain(2, 5))).toBe(0.02);
    expect(msAfter(inVain(1000, 5))).toBe(0.002);
    expect(
      msAfter((p) => {
        inVain(2, 5)(p);
        p.found();
      }),
    ).toBe(0.04);
    expect(
      msAfter((p) => {
        inVain(2, 5)(p);
        for (let i = 0; i < 9; i++) p.found();
      }),
    ).toBe(0.08);
  });

  test('long again after 64 sleeps that looking would have saved', () => {
    expect(msAfter(inVain(63, 0.03))).toBe(0.002);
    expect(msAfter(inVain(64, 0.03))).toBe(0.08);
  });
});
