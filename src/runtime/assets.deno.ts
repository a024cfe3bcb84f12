// Deno: its own files as on the web, since they may be remote; models by path, too; workers from node:worker_threads, since its web workers keep the process.

import type { ThreadHost } from '../threads/host.ts';
import { startWorker } from './assets.node.ts';
import { threads as web } from './assets.web.ts';

export const threads: ThreadHost = {
  ...web,
  start(data, on) {
    const script = new URL('../worker.node.js', import.meta.url);
    return script.protocol === 'file:' ? startWorker(script, data, on) : web.start(data, on);
  },
};

export { readSource } from './assets.node.ts';
export { wasmAsset } from './assets.web.ts';
