/** ONNX Attention (opset 23 on: grouped queries, masks, windows, key/value caches) and RotaryEmbedding. */
import type { Node } from '../graph/ir.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { arg, bad, float, int, only } from './attrs.ts';
import { doubles, FLOATS, numbers, store } from './half.ts';
import { broadcast, broadcastStrides, eachRun, product } from './strided.ts';
import type { OpTable } from './types.ts';

/** [batch, heads, sequence, size] of [B, H, S, D], or of [B, S, H·D] given the number of heads. */
function headDims(node: Node, dims: readonly number[], heads: number): number[] {
  if (dims.length === 4) return [...dims];
  const size = dims[2] / heads;
  if (dims.length !== 3 || !(heads >= 1 && Number.isInteger(size))) {
    throw bad(node, `expected [B, H, S, D] or [B, S, H·D] with ${heads} heads, got [${dims}]`);
  }
  return [dims[0], heads, dims[1], size];
}

/** The strides over [batch, heads, sequence, size] of a tensor of three or four dimensions. */
const headStrides = (rank: number, [, h, s, d]: readonly number[]): number[] =>
  rank === 4 ? [h * s * d, s * d, d, 1] : [s * h * d, d, h * d, 1];

/** Copies over [batch, heads, sequence, size] between arrays of given strides. */
function move(
  over: readonly number[],
  from: Float64Array,
  fromStrides: number[],
  to: Float64Array,
  toStrides: number[],
  start = 0,
): void {
  eachRun(over, [fromStrides, toStrides], ([a, b], n) => {
    to.set(from.subarray(a, a + n), start + b);
  });
}

/** The shapes at work, all [batch, heads, sequence, size]; `total` keys, of which `past` come from the cache. */
function attentionShape(node: Node, inputs: readonly (TensorType | undefined)[]) {
  const [q, k, v] = [0, 1, 2].map((i) => {
    const { dims } = arg(node, inputs, i);
    return headDims(node, dims, dims.length === 3 ? int(node, i ? 'kv_num_heads' : 'q_num_heads') : 0);
  });
  const [, , , mask, pastKey, pastValue, lengths] = inputs;
  const past = pastKey?.dims[2] ?? 0;
  const total = past + k[2];
  const cache = (t: TensorType | undefined, like: number[]) =>
    t === undefined ? past === 0 : `${t.dims}` === `${[like[0], like[1], past, like[3]]}`;
  const fits = k[0] === q[0] && v[0] === q[0] && k[1] === v[1] && k[2] === v[2] && k[3] === q[3] && q[1] % k[1] === 0;
  if (!fits || !cache(pastKey, k) || !cache(pastValue, v) || (lengths && `${lengths.dims}` !== `${q[0]}`)) {
    throw bad(node, `shapes do not fit: ${inputs.map((t) => (t ? `[${t.dims}]` : '-')).join(' ')}`);
  }
  const scores = [q[0], q[1], q[2], total];
  if (mask) {
    // A mask may end early: what it does not reach is masked out.
    const reach = mask.dims.at(-1) ?? 1;
    if (reach > total) throw bad(node, `mask [${mask.dims}] is longer than ${total} keys`);
    broadcastStrides(node, mask.dims, [...scores.slice(0, 3), reach]);
  }
  return { q, k, v, past, total, scores };
}

/** The mask as something to add, for every score. */
function bias(node: Node, mask: Tensor, scores: readonly number[]): Float64Array {
  const reach = mask.dims.at(-1) ?? 1;
  const short = broadcast(node, mask, [...scores.slice(0, 3), reach]);
  const total = scores[3];
  const out = new Float64Array(product(scores)).fill(Number.NEGATIVE_INFINITY);
  for (let at = 0, from = 0; from < short.length; at += total) {
    for (let j = 0; j < reach; j++) {
      const m = short[from++];
      out[at + j] = mask.type === 'bool' ? (m ? 0 : Number.NEGATIVE_INFINITY) : m;
    }
  }
  return out;
}

export const attention: OpTable = {
  /**
   * Q, K, V, attn_mask?, past_key?, past_value?, nonpad_kv_seqlen? →
   * Y, present_key, present_value, scores (qk_matmul_output_mode 0: raw, 1: soft-capped, 2: masked, 3: softmax).
   * A query that may see no key gives zeros.
   */
  Attention: {
    infer(node, inputs) {
      const q = arg(node, inputs, 0);
      only(node, q.type, FLOATS);
      const { k, v, q: shape, total, scores } = attentionShape(node, inputs);
      const mode = int(node, 'qk_matmul_output_mode', 0);
      if (!(mode >= 0 && mode <= 3)) throw bad(node, `qk_matmul_output_mode expected 0 to 3, got ${mode}`);
      const y = q.dims.length === 4 ? [...shape.slice(0, 3), v[3]] : [shape[0], shape[2], shape[1] * v[3]];
      return [
        { type: q.type, dims: y },
        { type: inputs[1]!.type, dims: [k[0], k[1], total, k[3]] },
        { type: inputs[2]!.type, dims: [v[0], v[1], total, v[3]] },
        { type: q.type, dims: scores },
      ].slice(0, Math.max(1, node.outputs.length)) as TensorType[];
    },
    eval(node, inputs, [y, presentKey, presentValue, scoresOut]) {
      const { q, k, v, past, total, scores } = attentionShape(node, inputs);
      const [qt, kt, vt, mask, pastKey, pastValue, lengths] = inputs;
      const [batch, heads, queries, size] = q;
      const group = heads / k[1];
      // Cache and new keys (or values) one after the other.
      const present = (t: Tensor, dims: number[], old: Tensor | undefined) => {
        const whole = [dims[0], dims[1], total, dims[3]];
        const out = new Float64Array(product(whole));
        const strides = headStrides(4, whole);
        const before = [dims[0], dims[1], past, dims[3]];
        if (old) move(before, doubles(old), headStrides(4, before), out, strides);
        move(dims, doubles(t), headStrides(t.dims.length, dims), out, strides, past * dims[3]);
        return out;
      };
      const keys = present(kt!, k, pastKey);
      const values = present(vt!, v, pastValue);
      if (presentKey) store(presentKey, keys);
      if (presentValue) store(presentValue, values);

      const query = new Float64Array(product(q));
      move(q, doubles(qt!), headStrides(qt!.dims.length, q), query, headStrides(4, q));
      const scale = float(node, 'scale', 1 / Math.sqrt(size));
      const softcap = float(node, 'softcap', 0);
      const mode = int(node, 'qk_matmul_output_mode', 0);
      const left = int(node, 'left_window_size', -1);
      const right = int(node, 'is_causal', 0) ? 0 : int(node, 'right_window_size', -1);
      const add = mask && bias(node, mask, scores);
      const valid = lengths && numbers(lengths);
      const out = new Float64Array(product(q.slice(0, 3)) * v[3]);
      const kept = scoresOut && new Float64Array(scoresOut.size);
      const row = new Float64Array(total);
      for (let b = 0; b < batch; b++) {
        // Where the first query stands among the keys.
        const offset = valid && !pastKey ? valid[b] - queries : past;
        for (let h = 0; h < heads; h++) {
          const shared = b * k[1] + Math.floor(h / group);
          for (let i = 0; i < queries; i++) {
            const line = (b * heads + h) * queries + i;
            const at = i + offset;
            let max = Number.NEGATIVE_INFINITY;
            for (let j = 0; j < total; j++) {
              let s = 0;
              const from = (shared * total + j) * size;
              for (let d = 0; d < size; d++) s += query[line * size + d] * keys[from + d];
              s *= scale;
              if (kept && mode === 0) kept[line * total + j] = s;
              if (softcap) s = Math.tanh(s / softcap) * softcap;
              if (kept && mode === 1) kept[line * total + j] = s;
              if (add) s += add[line * total + j];
              const seen = (right < 0 || j <= at + right) && (left < 0 || j >= at - left) && !(valid && j >= valid[b]);
              row[j] = seen ? s : Number.NEGATIVE_INFINITY;
              if (row[j] > max) max = row[j];
            }
            if (kept && mode === 2) kept.set(row, line * total);
            let sum = 0;
            const to = line * v[3];
            if (max > Number.NEGATIVE_INFINITY) {
              for (let j = 0; j < total; j++) sum += row[j] = Math.exp(row[j] - max);
              for (let j = 0; j < total; j++) {
                row[j] /= sum;
                const from = (shared * total + j) * v[3];
                // A key that is masked out must not spread its infinities.
                if (row[j] !== 0) for (let d = 0; d < v[3]; d++) out[to + d] += row[j] * values[from + d];
              }
            } else row.fill(0);
            if (kept && mode === 3) kept.set(row, line * total);
          }
        }
      }
      const over = [batch, heads, queries, v[3]];
      const result = new Float64Array(out.length);
      move(over, out, headStrides(4, over), result, headStrides(y.dims.length, over));
      store(y, result);
      if (kept) store(scoresOut, kept);
    },
  },
  /** x, cos_cache, sin_cache, position_ids? Rotates pairs of the first rotary_embedding_dim of every head. */
  RotaryEmbedding: {
    infer(node, inputs) {
      const { type, dims } = arg(node, inputs, 0);
      only(node, type, FLOATS);
      const [b, , s, d] = headDims(node, dims, dims.length === 3 ? int(node, 'num_heads') : 0);
      const half = (int(node, 'rotary_embedding_dim', 0) || d) / 2;
      const cos = arg(node, inputs, 1).dims;
      const sin = arg(node, inputs, 2).dims;
      const ids = inputs[3]?.dims;
      const fits = ids ? `${ids}` === `${[b, s]}` && cos.length === 2 : `${cos.slice(0, -1)}` === `${[b, s]}`;
      if (!fits || half * 2 > d || cos.at(-1) !== half || `${cos}` !== `${sin}`) {
        throw bad(node, `caches [${cos}] and [${sin}]${ids ? `, positions [${ids}]` : ''} do not fit input [${dims}]`);
      }
      return [{ type, dims }];
    },
    eval(node, [input, cosine, sine, positions], [y]) {
      const { dims } = y;
      const over = headDims(node, dims, dims.length === 3 ? int(node, 'num_heads') : 0);
      const [batch, heads, length, size] = over;
      const [bs, hs, ss] = headStrides(dims.length, over);
      const half = (int(node, 'rotary_embedding_dim', 0) || size) / 2;
      const [step, apart] = int(node, 'interleaved', 0) ? [2, 1] : [1, half];
      const [cos, sin] = [numbers(cosine!), numbers(sine!)];
      const ids = positions && numbers(positions);
      const x = doubles(input!);
      for (let b = 0; b < batch; b++) {
        for (let s = 0; s < length; s++) {
          const row = ids ? ids[b * length + s] : b * length + s;
          if (!(row >= 0 && (row + 1) * half <= cos.length)) throw bad(node, `position ${row} is not in the caches`);
          for (let h = 0; h < heads; h++) {
            for (let i = 0, at = b * bs + h * hs + s * ss; i < half; i++, at += step) {
              const [c, n] = [cos[row * half + i], sin[row * half + i]];
              const [re, im] = [x[at], x[at + apart]];
              x[at] = c * re - n * im;
              x[at + apart] = n * re + c * im;
            }
          }
        }
      }
      store(y, x);
    },
  },
};
