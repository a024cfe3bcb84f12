import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const CHILD = fileURLToPath(new URL('engine.mjs', import.meta.url));

/** An engine in a process of its own. Calls are answered one at a time. */
export class EngineProcess {
  #child;
  #stderr = '';
  #pending = new Map();
  #id = 0;

  /**
   * @param {string} module file under engines/, without extension
   * @param {string} node path of the Node executable
   */
  constructor(module, node) {
    this.module = module;
    // Engines chatter on both streams; what they said is shown only when they fail.
    this.#child = fork(CHILD, [], {
      execPath: node,
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const collect = (chunk) => {
      this.#stderr = (this.#stderr + chunk).slice(-4000);
    };
    this.#child.stdout.on('data', collect);
    this.#child.stderr.on('data', collect);
    this.#child.on('message', ({ id, ok, error }) => {
      const { resolve, reject } = this.#pending.get(id);
      this.#pending.delete(id);
      if (error) reject(new Error(`${module}: ${error}`));
      else resolve(ok);
    });
    this.#child.on('exit', (code) => {
      const error = new Error(`${module}: the process ended with ${code}\n${this.#stderr}`);
      for (const { reject } of this.#pending.values()) reject(error);
    });
  }

  #call(command, parameters) {
    const id = this.#id++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#child.send({ id, do: command, ...parameters });
    });
  }

  open() {
    return this.#call('open', { module: `./engines/${this.module}.mjs` });
  }

  /** @returns {Promise<{ logits: Float32Array, engine: string }>} */
  load(key, network, options) {
    return this.#call('load', { key, network, options });
  }

  /** @returns {Promise<number[]>} milliseconds of each run */
  time(key, budget) {
    return this.#call('time', { key, budget });
  }

  close() {
    this.#child.removeAllListeners('exit');
    this.#child.kill();
  }
}
