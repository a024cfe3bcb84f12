// The worker script of pages, Deno and other hosts with web workers. Its first message starts it; it answers 'ready'.
import { serve, type WorkerStart } from './worker.ts';

const scope = globalThis as unknown as {
  onmessage: ((event: { data: WorkerStart }) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
};

scope.onmessage = ({ data }) => {
  scope.onmessage = null;
  serve(data, () => scope.postMessage('ready'));
  scope.close();
};
