/**
 * One list of checks that every runtime must pass. Plain ES module: no Node, no DOM, nothing but the language and what `env`
 * hands in.
 *
 * @typedef {object} SmokeEnv
 * @property {Uint8Array} model an .onnx file: `image` [N, 1, 96, 96] → `logits` [N, 10], pruned in groups of 4
 * @property {Float32Array} image one input
 * @property {Float32Array} logits what the network answers to it, from the framework that trained it
 * @property {boolean} relaxed whether this runtime is known to have relaxed SIMD
 * @property {boolean} compiles whether it may compile WebAssembly from bytes; edge workers may not
 * @property {RegExp} [alone] why this runtime has one thread only; left out, it has more
 * @property {() => Promise<object>} [inline] imports the entry with the wasm inside
 * @property {() => Promise<{ npy: object, mtx: object }>} [files] imports the readers of data files
 * @property {string} [missing] a URL that answers 404 with an HTML page
 * @property {string} [modelUrl] where `model` can be fetched
 *
 * @typedef {{ name: string, ok: boolean, detail: string }} SmokeResult
 */

const TOLERANCE = 1e-3;
const DIMS = [1, 1, 96, 96];

/** Firefox leaves the message out of the stack. */
const report = (error) => (error?.stack?.includes(error.message) ? error.stack : `${error}\n${error?.stack ?? ''}`);

/** Largest difference relative to the largest expected value. */
function difference(actual, expected) {
  let worst = actual.length === expected.length ? 0 : Number.NaN;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return worst / scale;
}

function close(actual, expected) {
  const d = difference(actual, expected);
  if (!(d <= TOLERANCE)) throw new Error(`relative difference ${d}, at most ${TOLERANCE} allowed`);
  return `relative difference ${d.toExponential(1)}`;
}

function equal(actual, expected, what) {
  if (actual !== expected) throw new Error(`${what}: expected ${expected}, got ${actual}`);
}

/** W [rows][cols] times x [cols][columns] by a plain loop. */
const multiply = (w, x, rows, cols, columns) =>
  Float32Array.from({ length: rows * columns }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < cols; k++) sum += w[Math.floor(i / columns) * cols + k] * x[k * columns + (i % columns)];
    return sum;
  });

/** Weights [24][40] in groups of 4 outputs, x [40][30], and y = max(0, W x). */
function product() {
  const [rows, cols, columns] = [24, 40, 30];
  const wave = (i) => Math.fround(Math.sin(i * 12.9898));
  const w = Float32Array.from({ length: rows * cols }, (_, i) =>
    (Math.floor(i / cols / 4) * 7 + (i % cols) * 3) % 5 ? 0 : wave(i + 1),
  );
  const x = Float32Array.from({ length: cols * columns }, (_, i) => wave(i + 5000));
  const y = multiply(w, x, rows, cols, columns).map((v) => Math.max(0, v));
  return { w, x, y, rows, cols, columns };
}

/**
 * Whole numbers that int8 and uint7 hold exactly: W [24][40] with 127 in every row, x [40][columns] with 127 and no less than
 * `least` in every column, and y = W x.
 */
function integers(columns, least) {
  const [rows, cols] = [24, 40];
  const span = 128 - least;
  const w = Float32Array.from({ length: rows * cols }, (_, i) => {
    const k = i % cols;
    return k === 0 ? 127 : (Math.floor(i / cols / 4) * 7 + k * 3) % 5 ? 0 : ((i * 37) % 255) - 127;
  });
  const x = Float32Array.from({ length: cols * columns }, (_, i) => (i < columns ? 127 : ((i * 53) % span) + least));
  return { w, x, y: multiply(w, x, rows, cols, columns), rows, cols };
}

/** Expects `act` to fail with one of sparsimd's errors, named and coded as documented. */
async function rejects(sparsimd, errorName, code, text, act) {
  let error;
  try {
    await act();
  } catch (e) {
    error = e;
  }
  if (!error) throw new Error(`expected ${errorName}, nothing was thrown`);
  if (!(error instanceof sparsimd[errorName])) throw new Error(`expected ${errorName}, got ${report(error)}`);
  equal(error.name, errorName, 'error.name');
  equal(error.code, code, 'error.code');
  if (!text.test(error.message)) throw new Error(`expected a message like ${text}, got: ${error.message}`);
  return error.message;
}

/** What a page learns whose Content-Security-Policy forbids WebAssembly. @returns {Promise<SmokeResult>} */
export async function smokeForbidden({ Engine, UnsupportedError }) {
  const name = "a policy without 'wasm-unsafe-eval': UnsupportedError";
  try {
    await Engine.create();
    return { name, ok: false, detail: 'nothing was thrown' };
  } catch (error) {
    return {
      name,
      ok: error instanceof UnsupportedError && /wasm-unsafe-eval/.test(error.message),
      detail: String(error),
    };
  }
}

/**
 * @param {object} sparsimd the package's namespace
 * @param {SmokeEnv} env
 * @returns {Promise<SmokeResult[]>}
 */
export async function smoke(sparsimd, env) {
  const { Engine, Model, Tensor } = sparsimd;
  const feeds = () => ({ image: new Tensor('float32', env.image, DIMS) });
  /** Loads, hands the model to `use`, disposes. */
  const withModel = async (options, use, api = sparsimd) => {
    const model = await api.Model.load(env.model, options);
    try {
      return await use(model);
    } finally {
      model.dispose();
    }
  };
  const fails = (errorName, code, text, act) => rejects(sparsimd, errorName, code, text, act);

  const checks = {
    async 'picks the best instruction set and says why'() {
      const engine = await Engine.create();
      const { info } = engine;
      engine.dispose();
      equal(info.isa, env.relaxed ? 'relaxed' : 'simd128', 'isa');
      if (!info.why) throw new Error('info.why is empty');
      return `${info.isa}: ${info.why}`;
    },
    async 'simd128, pinned: logits as the reference'() {
      return withModel({ isa: 'simd128' }, (model) => {
        equal(model.engine.info.isa, 'simd128', 'isa');
        return close(model.runSync(feeds()).logits.data, env.logits);
      });
    },
    async 'relaxed: logits as the reference, or a refusal'() {
      if (!env.relaxed) {
        return fails('UnsupportedError', 'UNSUPPORTED', /relaxed/, () => Model.load(env.model, { isa: 'relaxed' }));
      }
      return withModel({ isa: 'relaxed' }, async (model) => close((await model.run(feeds())).logits.data, env.logits));
    },
    async 'sparsity off: the same logits'() {
      return withModel({ sparsity: 'off' }, (model) => close(model.runSync(feeds()).logits.data, env.logits));
    },
    async 'every layer runs on a kernel, pruned ones on a sparse kernel'() {
      // Deterministic: otherwise a measurement, which noise may spoil, picks the kernels.
      return withModel({ deterministic: true }, (model) => {
        const steps = model.plan(feeds());
        const slow = steps.filter((s) => s.kernel === 'host').map((s) => s.node);
        equal(slow.join(), '', 'steps on the host');
        const sparse = steps.filter((s) => /group|csr/.test(s.kernel)).length;
        if (sparse < 10)
          throw new Error(`${sparse} of ${steps.length} steps are sparse: ${steps.map((s) => s.kernel)}`);
        return `${sparse} of ${steps.length} steps are sparse`;
      });
    },
    async 'a batch of two: each image answered alike'() {
      const two = new Float32Array(2 * env.image.length);
      two.set(env.image);
      two.set(env.image, env.image.length);
      return withModel({}, (model) => {
        const { dims, data } = model.runSync({ image: new Tensor('float32', two, [2, ...DIMS.slice(1)]) }).logits;
        equal(dims.join(), '2,10', 'dims');
        return `${close(data.subarray(0, 10), env.logits)}; ${close(data.subarray(10), env.logits)}`;
      });
    },
    async 'two models on one engine do not disturb each other'() {
      const engine = await Engine.create();
      const first = await Model.load(env.model, { engine });
      const second = await Model.load(env.model, { engine, sparsity: 'off' });
      first.runSync(feeds());
      second.runSync(feeds());
      first.dispose();
      const detail = close(second.runSync(feeds()).logits.data, env.logits);
      engine.dispose();
      return detail;
    },
    async 'wrong input name: InputError'() {
      return withModel({}, (model) =>
        fails('InputError', 'INPUT', /"picture".*"image"/, () => model.runSync({ picture: feeds().image })),
      );
    },
    async 'wrong input shape: InputError'() {
      const flat = new Tensor('float32', env.image, [1, env.image.length]);
      return withModel({}, (model) =>
        fails('InputError', 'INPUT', /"image".*96.*9216/, () => model.runSync({ image: flat })),
      );
    },
    async 'use after dispose: DisposedError'() {
      const model = await Model.load(env.model);
      model.dispose();
      model.dispose();
      return fails('DisposedError', 'DISPOSED', /dispose/, () => model.runSync(feeds()));
    },
    async 'a truncated model: ModelFormatError'() {
      return fails('ModelFormatError', 'MODEL_FORMAT', /./, () => Model.load(env.model.subarray(0, 100_000)));
    },
    async 'an HTML page in place of the wasm: AssetError'() {
      const wasm = new TextEncoder().encode('<!doctype html><title>404</title>');
      return fails('AssetError', 'ASSET', /HTML/, () => Model.load(env.model, { wasm }));
    },
    async 'SpMM by itself, CSR and groups of 4, as a plain loop'() {
      const { w, x, y, rows, cols, columns } = product();
      const engine = await Engine.create();
      const csr = sparsimd.SparseMatrix.fromDense(w, rows, cols);
      const bsr = sparsimd.SparseMatrix.fromDense(w, rows, cols, { format: 'bsr', block: [4, 1] });
      const details = [];
      for (const m of [csr, bsr]) details.push(close(await engine.spmm(m, x, { columns, min: 0 }), y));
      const operator = await engine.prepare(bsr, { columns, min: 0 });
      operator.input.set(x);
      operator.execute();
      close(operator.output, y);
      operator.dispose();
      engine.dispose();
      return details.join('; ');
    },
    async 'a chain of int8 layers, exactly'() {
      const columns = 30;
      const { w, x, rows, cols } = integers(columns, -127);
      const back = Float32Array.from({ length: 8 * rows }, (_, i) => (i % rows === 0 ? 127 : ((i * 29) % 255) - 127));
      // Sums in steps of 4096, limited to 8 bits; of those the positive part.
      const step = 4096;
      const middle = multiply(w, x, rows, cols, columns).map((v) => {
        const even = 2 * Math.round(v / step / 2);
        const whole = Math.abs(v / step - Math.trunc(v / step)) === 0.5 ? even : Math.round(v / step);
        return Math.max(0, Math.min(127, whole));
      });
      const want = multiply(back, middle, 8, rows, columns).map((v) => v * step);
      const make = (data, r, c) => sparsimd.SparseMatrix.fromDense(data, r, c, { dtype: 'int8' });
      const q = (scale) => ({ type: 'int8', scale, zeroPoint: 0 });
      const layers = [
        { w: make(w, rows, cols), input: q(1), activation: { f: (v) => Math.max(0, v), input: q(step) } },
        { w: make(back, 8, rows), input: q(step) },
      ];
      const kernels = new Set();
      for (const isa of env.relaxed ? ['simd128', 'relaxed'] : ['simd128']) {
        const engine = await Engine.create({ isa });
        const op = await engine.prepareInt8(layers, { columns });
        equal(op.run(x).join(), want.join(), `Y, ${isa}`);
        for (const kernel of op.kernels) kernels.add(kernel);
        engine.dispose();
      }
      return [...kernels].join(', ');
    },
    async 'int8 products, many columns and one, exactly'() {
      const kernels = new Set();
      for (const isa of env.relaxed ? ['simd128', 'relaxed'] : ['simd128']) {
        const engine = await Engine.create({ isa });
        for (const format of ['csr', 'bsr'])
          for (const activations of ['int8', 'uint7'])
            for (const columns of [1, 30]) {
              const { w, x, y, rows, cols } = integers(columns, activations === 'int8' ? -127 : 0);
              const m = sparsimd.SparseMatrix.fromDense(w, rows, cols, { format, dtype: 'int8' });
              const operator = await engine.prepare(m, { columns, activations });
              operator.input.set(x);
              operator.execute();
              const { output, kernel } = operator;
              for (const [i, v] of y.entries())
                equal(output[i], v, `${isa} ${format} ${activations} ${columns}, y[${i}]`);
              kernels.add(kernel);
              operator.dispose();
            }
        engine.dispose();
      }
      return [...kernels].join(', ');
    },
    async 'a malformed matrix: SparseFormatError'() {
      const m = { rows: 2, cols: 4, rowPointers: [0, 1, 2], columnIndices: [0, 0x40000000], values: [1, 2] };
      return fails('SparseFormatError', 'SPARSE_FORMAT', /columnIndices\[1\].*1073741824/, () =>
        sparsimd.SparseMatrix.fromCSR(m),
      );
    },
    async 'an aborted load rejects with the reason'() {
      const reason = new Error('changed my mind');
      let got;
      await Model.load(env.model, { signal: AbortSignal.abort(reason) }).catch((e) => {
        got = e;
      });
      equal(got, reason, 'rejection');
      return 'rejected';
    },
  };
  if (env.alone) {
    checks['threads asked for in vain: one thread, and why, at once'] = async () => {
      const start = performance.now();
      const engine = await Engine.create({ threads: 2 });
      const took = performance.now() - start;
      const { threads, threadsWhy } = engine.info;
      engine.dispose();
      equal(threads, 1, 'threads');
      if (!env.alone.test(threadsWhy)) throw new Error(`threadsWhy: ${threadsWhy}`);
      if (took > 1000) throw new Error(`took ${took} ms`);
      return withModel({ threads: 'auto' }, async (model) => {
        close((await model.run(feeds())).logits.data, env.logits);
        return `${took.toFixed(0)} ms: ${threadsWhy}`;
      });
    };
  } else {
    checks['two and three threads: bit for bit as one'] = async () => {
      const answers = [];
      for (const threads of [1, 2, 3]) {
        await withModel({ threads, deterministic: true }, async (model) => {
          equal(model.engine.info.threads, threads, `threads (${model.engine.info.threadsWhy})`);
          for (let i = 0; i < 20; i++) answers.push((await model.run(feeds())).logits.data);
        });
      }
      for (const answer of answers) {
        const bits = new Int32Array(answer.buffer);
        const first = new Int32Array(answers[0].buffer);
        if (bits.some((b, i) => b !== first[i])) throw new Error(`${answer} and ${answers[0]}`);
      }
      return close(answers[0], env.logits);
    };
    checks['two threads: memory grows, results are ordinary arrays'] = () =>
      withModel({ threads: 2 }, (model) => {
        const before = model.engine.arena.size;
        const many = new Float32Array(16 * env.image.length);
        for (let i = 0; i < 16; i++) many.set(env.image, i * env.image.length);
        const { data } = model.runSync({ image: new Tensor('float32', many, [16, ...DIMS.slice(1)]) }).logits;
        if (!(model.engine.arena.size > before)) throw new Error('the memory did not grow');
        if (!(data.buffer instanceof ArrayBuffer)) throw new Error('the result is shared');
        return close(data.subarray(150), env.logits);
      });
  }
  checks['threads: 0 is refused'] = () =>
    fails('ArgumentRangeError', 'ARGUMENT_RANGE', /"threads".*64/, () => Engine.create({ threads: 0 }));
  if (env.inline) {
    checks['the entry with the wasm inside'] = async () => {
      const api = await env.inline();
      if (!env.compiles) {
        return rejects(api, 'UnsupportedError', 'UNSUPPORTED', /wasm: module/, () => api.Model.load(env.model));
      }
      const image = new api.Tensor('float32', env.image, DIMS);
      return withModel({}, (model) => close(model.runSync({ image }).logits.data, env.logits), api);
    };
  }
  if (env.files) {
    checks['NumPy archives and MatrixMarket, out and in'] = async () => {
      const { npy, mtx } = await env.files();
      const { w, rows, cols } = product();
      const csr = sparsimd.SparseMatrix.fromDense(w, rows, cols).toCSR();
      const read = await npy.readSparseNpz(await npy.writeSparseNpz(csr, { compress: true }));
      const back = [sparsimd.SparseMatrix.fromCSR(read), sparsimd.SparseMatrix.fromCOO(mtx.readMtx(mtx.writeMtx(csr)))];
      for (const m of back) equal(m.toDense().join(), w.join(), 'matrix');
      return `${csr.values.length} values`;
    };
  }
  if (env.missing) {
    checks['a wasm URL that is not there: AssetError'] = () =>
      fails('AssetError', 'ASSET', /404/, () => Model.load(env.model, { wasm: env.missing }));
  }
  if (env.modelPaths) {
    checks['a model by path and by file: URL'] = async () => {
      for (const path of env.modelPaths) (await Model.load(path)).dispose();
      return fails('AssetError', 'ASSET', /nowhere\.onnx/, () => Model.load('nowhere.onnx'));
    };
  }
  if (env.modelUrl) {
    checks['a model by URL, with progress'] = async () => {
      let loaded = 0;
      const onProgress = (p) => {
        if (p.phase === 'fetch') loaded = p.loaded;
      };
      const model = await Model.load(env.modelUrl, { onProgress });
      const detail = close(model.runSync(feeds()).logits.data, env.logits);
      model.dispose();
      equal(loaded, env.model.length, 'bytes reported');
      return detail;
    };
  }

  const results = [];
  for (const [name, check] of Object.entries(checks)) {
    try {
      results.push({ name, ok: true, detail: String(await check()) });
    } catch (error) {
      results.push({ name, ok: false, detail: report(error) });
    }
  }
  return results;
}
