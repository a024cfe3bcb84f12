import { option } from './support/machine.ts';
import { benchSpmm } from './support/spmm.ts';

// --density 0.2,0.05: the second beside the first, too.
const densities = option('density', '0.2').split(',').map(Number);
const rates = densities.map((density) => benchSpmm(['csr'], density, 1));
for (let i = 1; i < densities.length; i++) {
  for (const [isa, rate] of rates[i]) {
    const ratio = (rate / rates[0].get(isa)!).toFixed(3);
    console.log(
      `Node ${process.versions.node} ${isa}: density ${densities[i]} at ${ratio} of the rate at ${densities[0]}`,
    );
  }
}
