// The worker script of Node and Bun.
import { parentPort, workerData } from 'node:worker_threads';
import { serve, type WorkerStart } from './worker.ts';

serve(workerData as WorkerStart, () => parentPort!.postMessage('ready'));
