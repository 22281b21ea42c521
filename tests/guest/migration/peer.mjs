// A process with at most one VM, for tests of migrations: does what it is told over its channel, and tells what it has.
// argv: the library's address.
const { createVm, receiveVm } = await import(process.argv[2]);

let vm;
let output = "";
let held;

function watch(given) {
  vm = given;
  const take = async () => {
    for await (const bytes of vm.serial.output)
      output = (output + Buffer.from(bytes).toString("latin1")).slice(-100_000);
  };
  void take();
}

const commands = {
  async start(options) {
    watch(await createVm(options));
    await vm.start();
  },
  /** Answers when somebody can connect; the VM comes later. */
  async listen({ address, ...options }) {
    await new Promise((resolve, reject) => {
      receiveVm(address, {
        ...options,
        onListening: resolve,
        onHeld: (why, decide) => {
          held = decide;
        },
      }).then(watch, reject);
    });
  },
  async migrate({ target, ...options }) {
    try {
      return { result: await vm.migrate(target, options) };
    } catch (error) {
      return { code: error.code, message: error.message };
    }
  },
  async check({ target, ...options }) {
    return await vm.canMigrate(target, options);
  },
  async decide({ choice }) {
    if (vm) await vm.decideMigration(choice);
    else await held(choice);
  },
  async type({ text }) {
    await vm.serial.write(text);
  },
  async status() {
    return { state: vm?.state, isHeld: held !== undefined, output };
  },
  async stats() {
    return await vm.stats();
  },
  async registers() {
    const { rip, retired } = await vm.registers();
    return { rip: Number(rip), retired };
  },
};

process.on("message", async ({ id, name, args }) => {
  try {
    process.send({ id, value: await commands[name](args ?? {}) });
  } catch (error) {
    process.send({ id, error: `${error.code ?? error.name}: ${error.message}` });
  }
});
process.on("disconnect", () => process.exit());
process.send({ id: 0 });
