// The user network beside QEMU's (slirp, with TCG): virtio-net in one Linux guest, the same kernel and program on both sides, a
// server of this host, in turn. `node bench/network.mjs [--rounds N] [--ms MS] [--reps N] [--json FILE]`; needs a build, gcc, cpio
// and qemu-system-x86_64. Times are the guest's own, a figure is the best of all rounds.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ensureTinyImage } from "../packages/host/dist/index.js";
import { initrdWith, runSide, TINY_PROGRAM_APPEND } from "./tiny-program.mjs";

const TWINMETAL = fileURLToPath(new URL("../packages/cli/bin/twinmetal.mjs", import.meta.url));
const PROGRAM = fileURLToPath(new URL("guest/nbench.c", import.meta.url));
const FLOOR = 0.7;
const AIM = 1.5;
const CHUNK = Buffer.alloc(1 << 16, 7);

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "2" },
    ms: { type: "string", default: "2000" },
    reps: { type: "string", default: "3" },
    json: { type: "string" },
  },
});

/** What the guest's first letter asks for. */
function serve(socket) {
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.once("data", (first) => {
    const what = String.fromCharCode(first[0]);
    if (what === "e") {
      socket.write(first.subarray(1));
      socket.on("data", (bytes) => socket.write(bytes));
    }
    if (what === "u") socket.on("data", () => {});
    if (what === "d") {
      const send = () => {
        while (!socket.destroyed && socket.write(CHUNK));
      };
      socket.on("drain", send);
      send();
    }
  });
}

const server = createServer(serve);
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();
const folder = mkdtempSync(join(tmpdir(), "twinmetal-network-bench-"));
try {
  const image = await ensureTinyImage({ signal: AbortSignal.timeout(90_000) });
  const initrd = initrdWith(folder, image.initrdPath, {
    name: "nbench",
    source: PROGRAM,
    load: ["network-order"],
    run: `ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; sleep 1; /nbench 10.0.2.2 ${port} ${values.ms} ${values.reps}`,
  });
  const commands = {
    tcg: [
      "qemu-system-x86_64",
      "-accel tcg,thread=multi -smp 1 -m 512 -nodefaults -no-reboot -display none -serial stdio -machine q35"
        .split(" ")
        .concat(["-kernel", image.kernelPath, "-initrd", initrd, "-append", TINY_PROGRAM_APPEND])
        .concat(["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]),
    ],
    twinmetal: [
      process.execPath,
      [TWINMETAL, "run", "--engine", "jit", "--kernel", image.kernelPath, "--initrd", initrd, "--memory", "512M"]
        .concat(["--append", TINY_PROGRAM_APPEND])
        .concat(["--net", "user", "--allow", `host:${port}`]),
    ],
  };
  const best = {};
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const side of ["tcg", "twinmetal"]) {
      for (const [name, ns] of Object.entries(await runSide(commands[side]))) {
        const test = (best[name] ??= { tcg: Number.POSITIVE_INFINITY, twinmetal: Number.POSITIVE_INFINITY });
        test[side] = Math.min(test[side], ns);
      }
    }
  }
  const figureOf = (name, ns) => (name === "echo" ? `${(ns / 1000).toFixed(0)} us` : `${(8 / ns).toFixed(2)} Gbit/s`);
  console.table(
    Object.entries(best).map(([test, { tcg, twinmetal }]) => {
      const ratio = tcg / twinmetal;
      const verdict = ratio >= AIM ? "aim" : ratio >= FLOOR ? "floor" : "BELOW";
      return { test, tcg: figureOf(test, tcg), twinmetal: figureOf(test, twinmetal), ratio: ratio.toFixed(2), verdict };
    }),
  );
  if (values.json) writeFileSync(values.json, `${JSON.stringify(best, null, 2)}\n`);
} finally {
  server.close();
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
