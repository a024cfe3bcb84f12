/** What threads need of a host; `#assets` has one, or the reason why there is none. */
import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';
import type { WorkerStart } from './worker.ts';

export interface WorkerHandle {
  /** Ends the worker by force. Resolves when it has ended, as far as the host tells. */
  terminate(): unknown;
}

export interface WorkerEvents {
  ready(): void;
  /** It threw, could not be started, or ended. */
  ended(reason: string): void;
}

export interface ThreadHost {
  /** Hardware threads, where `navigator` does not tell. */
  hardware?(): Promise<number>;
  /** The module that imports a shared memory. */
  wasm(isa: Isa): Promise<WasmSource>;
  /** Starts a worker that does not keep the process alive. Once it is ready, that is. */
  start(data: WorkerStart, on: WorkerEvents): WorkerHandle | Promise<WorkerHandle>;
}
