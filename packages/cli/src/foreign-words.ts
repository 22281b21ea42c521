/**
 * What other programs for virtual machines and containers call things (QEMU, virsh, VBoxManage, Docker): whoever types their words
 * is told this program's. No word here does anything.
 */

/** Of a command: what stands for it here, behind "Here it is: twinmetal ". */
const COMMANDS: Readonly<Record<string, string>> = {
  list: "ls",
  status: "ls, or show NAME",
  inspect: "show NAME",
  info: "show NAME",
  dominfo: "show NAME",
  dumpxml: "show NAME --json",
  showvminfo: "show NAME",
  up: "start NAME, or run -d --name NAME",
  startvm: "start NAME",
  launch: "run -d --name NAME",
  define: "create --name NAME",
  createvm: "create --name NAME",
  shutdown: "stop NAME",
  poweroff: "stop NAME",
  down: "stop NAME",
  halt: "stop NAME",
  destroy: "kill NAME ends it at once; rm NAME removes it",
  delete: "rm NAME",
  remove: "rm NAME",
  undefine: "rm NAME",
  unregistervm: "rm NAME",
  reboot: "restart NAME, or reset NAME as by the button",
  suspend: "pause NAME",
  unpause: "resume NAME",
  ssh: "shell NAME (the tiny image), or run with --forward 2222:22 and then ssh -p 2222 127.0.0.1",
  login: "shell NAME, or console NAME",
  monitor: "top; the console is console NAME",
  stats: "top",
  update: "set NAME KEY=VALUE",
  setmem: "set NAME memory=SIZE",
  setvcpus: "set NAME cpus=N",
  managedsave: "save NAME",
  savestate: "save NAME",
  log: "logs NAME",
  mv: "rename NAME NEW",
  copy: "cp SRC DST; a whole VM: clone NAME NEW",
  images: "image info FILE; images are files, named by their paths",
  disk: "image create FILE SIZE",
  convert: "image convert FROM TO",
  resize2fs: "image resize FILE SIZE",
  pull: "run FILE.qcow2 or FILE.tar; images are files that you fetch yourself",
  build: "run FILE.tar, of what docker save has written",
  load: "run FILE.tar",
  attachdisk: "insert NAME DISK IMAGE, with bays: run --disk-bays N",
  "attach-disk": "insert NAME DISK IMAGE, with bays: run --disk-bays N",
  "detach-disk": "eject NAME DISK",
  "send-key": "type NAME --keys ctrl-alt-delete",
  fork: "clone NAME NEW, with the state of one that runs",
  snapshot: "clone NAME NEW keeps what a VM is now, with its disks; save NAME and start NAME go on once",
  export: "save NAME FILE; a disk: image convert FROM TO",
  import: "restore FILE -d --name NAME; a disk: image convert FROM TO",
};

/** Parts of the design that this version lacks. */
const PLANNED = "serve events state net backup replica node user token doctor completion".split(" ");

/** A sentence, or undefined: it is nobody's word. */
export function aboutCommand(word: string): string | undefined {
  if (Object.hasOwn(COMMANDS, word)) return `Here it is: twinmetal ${COMMANDS[word]}`;
  return PLANNED.includes(word) ? "It is not in this version yet." : undefined;
}

const OMIT = "It goes without saying here: leave it out.";
const TERMINAL = `${OMIT} Without a command the console is on this terminal; a terminal for a command: twinmetal exec -t NAME -- CMD.`;
const DISK = "Here it is: --disk FILE[,format=..][,bus=..].";
const NET = "Here it is: --net user, and --forward PORT:GUESTPORT.";

/** Of `twinmetal run` and what takes its options: a sentence for each. */
export const RUN_FOREIGN: Readonly<Record<string, string>> = {
  "--cold": "It is not in this version yet.",
  "--rm": "A VM without -d is gone when it ends: leave it out.",
  "-i": TERMINAL,
  "-t": TERMINAL,
  "-it": TERMINAL,
  "-ti": TERMINAL,
  "-itd": `${TERMINAL} In the background: -d --name NAME.`,
  "-dit": `${TERMINAL} In the background: -d --name NAME.`,
  "--interactive": TERMINAL,
  "--tty": TERMINAL,
  "-e": "Give it to the command: -- env NAME=VALUE CMD.",
  "--env": "Give it to the command: -- env NAME=VALUE CMD.",
  "-w": "Give it to the command: -- sh -c 'cd DIR && CMD'.",
  "--workdir": "Give it to the command: -- sh -c 'cd DIR && CMD'.",
  "--volume": "Here it is: --share HOSTDIR[:NAME][,ro].",
  "--mount": "Here it is: --share HOSTDIR[:NAME][,ro].",
  "-virtfs": "Here it is: --share HOSTDIR[:NAME][,ro].",
  "--filesystem": "Here it is: --share HOSTDIR[:NAME][,ro].",
  "--publish": "Here it is: --forward PORT:GUESTPORT, with --net user.",
  "--restart": "Here it is: --on-crash restart, and with the host: --autostart.",
  "--network": NET,
  "-netdev": NET,
  "-nic": NET,
  "-device": "Devices have options of their own: --disk, --net, --share, --vga, --vsock, --watchdog, --balloon.",
  "-smp": "Here it is: --cpus N.",
  "--vcpus": "Here it is: --cpus N.",
  "--ram": "Here it is: --memory SIZE.",
  "-drive": DISK,
  "-hda": DISK,
  "-hdb": DISK,
  "-fda": "Here it is: --floppy FILE.",
  "-bios": "Here it is: --firmware bios, uefi or FILE.",
  "-pflash": "Here it is: --firmware uefi; with --name its settings are kept.",
  "-snapshot": "Here it is: --disk FILE,ephemeral.",
  "-machine": `${OMIT} There is one machine.`,
  "-enable-kvm": "Here it is: --engine kvm; by itself where the host has it.",
  "-accel": "Here it is: --engine kvm or jit.",
  "-nographic": `${OMIT} The serial console is on this terminal.`,
  "-daemonize": "Here it is: -d --name NAME.",
  "-monitor": "A VM with -d answers to its name: twinmetal help. Else: --migration-socket PATH.",
  "-qmp": "A VM with -d answers to its name: twinmetal help. Else: --migration-socket PATH.",
  "-vnc": "There is no remote display yet: twinmetal screenshot and type.",
  "-loadvm": "Here it is: twinmetal restore FILE.",
  "-usb": "There is no USB in this version.",
  "-no-reboot": "Here it is: --on-reboot stop.",
};
