// A VM in a process of its own, for what looks at that process: node endless-vm.mjs KERNEL. Prints the VM's counters as a
// line of JSON each second, until it is ended.
import { createVm } from "../../packages/host/dist/index.js";

const kernel = process.argv[2];
const vm = await createVm({ kernel, memoryBytes: 16 << 20, engine: "jit" });
await vm.start();
setInterval(async () => console.log(JSON.stringify(await vm.stats())), 1000);
