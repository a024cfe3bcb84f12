import { madd } from './isa';
export function probe_dense(p: usize): void {
  v128.store(p, madd(v128.load(p), v128.load(p, 16), v128.load(p, 32)));
}
