// Debian is installed by hand from a running VM of the image debian, as its installation guide says (appendix D.3): a blank qcow2
// disk is partitioned, filled through the user network from the mirror that this host's apt uses, and gets GRUB. SeaBIOS starts what
// was made, and cloud-init lets a user in by ssh over a forwarded port.

import { lookup } from "node:dns/promises";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { findDebianSource } from "../../packages/host/src/image/debian-sources.ts";
import { createImage, createVm, ensureDebianImage, type Vm } from "../../packages/host/src/index.ts";
import { type Ending, makeKey, run, SHIM, ssh } from "./ssh.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MINUTE_MS = 60_000;
const DISK_BYTES = 4 * 2 ** 30;
/** debootstrap does not follow what is only provided: python3-cffi-backend is what one of cloud-init's modules needs. */
const PACKAGES = [
  ...["linux-image-cloud-amd64", "grub-pc", "systemd-sysv", "udev", "dbus", "ifupdown", "isc-dhcp-client"],
  ...["openssh-server", "python3-cffi-backend", "cloud-init", "sudo"],
].join(",");
const tiny = await tinyGuest();
const reason = "missing" in tiny ? tiny.missing : undefined;

const startMs = performance.now();
const note = (what: string): void => console.log(`${what} after ${Math.round((performance.now() - startMs) / 1000)} s`);

/** A mirror with a private address is only reached where the address is named, too. */
async function allowed(mirror: string): Promise<string[]> {
  const { hostname } = new URL(mirror);
  const addresses = await lookup(hostname, { all: true });
  return [hostname, ...addresses.map(({ address }) => address)];
}

async function sh(vm: Vm, script: string): Promise<string> {
  const command = ["sh", "-ec", `export DEBIAN_FRONTEND=noninteractive; ${script}`];
  const { exitCode, stdout, stderr } = await vm.exec(command, { agentTimeoutMs: 20 * MINUTE_MS });
  const text = Buffer.concat([stdout, stderr]).toString();
  if (exitCode !== 0) throw new Error(`${script}: ${text.slice(-2000)}`);
  return text;
}

async function install(path: string): Promise<void> {
  const { mirror } = findDebianSource();
  const image = await ensureDebianImage();
  note("image");
  await using vm = await createVm({
    kernel: image.kernelPath,
    initrd: image.initrdPath,
    append: image.append,
    memoryBytes: 2 ** 30,
    disks: [{ path: image.diskPath, format: "raw", isEphemeral: true }, { path }],
    networks: [{ to: "user", allow: await allowed(mirror) }],
  });
  await vm.start();
  await vm.agent.connect({ timeoutMs: 20 * MINUTE_MS });
  note("agent");
  await sh(vm, "apt-get update; apt-get install --yes --no-install-recommends debootstrap fdisk");
  note("debootstrap");
  await sh(vm, "echo ',,L,*' | sfdisk --quiet /dev/vdb; mkfs.ext4 -q /dev/vdb1; mount /dev/vdb1 /mnt");
  await sh(vm, `debootstrap --variant=minbase --include=${PACKAGES} bookworm /mnt ${mirror}`);
  note("packages");
  await sh(vm, "for i in dev proc sys; do mount --rbind /$i /mnt/$i; done; chroot /mnt grub-install /dev/vdb");
  await sh(vm, "echo UUID=$(blkid -s UUID -o value /dev/vdb1) / ext4 defaults 0 1 > /mnt/etc/fstab");
  await sh(vm, `sed -i 's/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX=console=ttyS0/' /mnt/etc/default/grub`);
  await sh(vm, "chroot /mnt update-grub; sync");
  note("loader");
  await vm.shutdown();
  expect((await vm.wait()).kind).toBe("off");
}

test.skipIf(reason !== undefined)(
  "Debian is installed on a blank disk through the user network, starts from it, and lets a user in by ssh",
  { timeout: 240 * MINUTE_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-install-"));
    const twinmetal = (...words: string[]): Promise<Ending> =>
      run(process.execPath, [SHIM, ...words], { TWINMETAL_HOME: folder });
    onTestFinished(async () => {
      await twinmetal("rm", "--force", "installed");
      rmSync(folder, { recursive: true, force: true });
    });
    const disk = join(folder, "disk.qcow2");
    await createImage(disk, { sizeBytes: DISK_BYTES });
    await install(disk);
    note("installed");
    expect((await twinmetal("image", "check", disk)).status).toBe(0);

    const key = await makeKey(folder);
    const port = String(20_000 + (process.pid % 20_000));
    const seed = ["--user", "ada", "--ssh-key", `${key}.pub`, "--hostname", "web", "--forward", `${port}:22`];
    expect(await twinmetal("run", "-d", "--name", "installed", disk, ...seed)).toMatchObject({ status: 0 });
    note("started");
    const look = "id -un; hostname; sudo -n id -u; cut -d. -f1 /etc/debian_version; findmnt -no SOURCE,FSTYPE /";
    const ending = await ssh({ user: "ada", key, port, folder }, look);
    note("ssh");
    expect(ending).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^ada\nweb\n0\n12\n\/dev\/vda1 +ext4\n$/),
    });
    expect(await twinmetal("stop", "installed", "--timeout", "600")).toMatchObject({ status: 0 });
  },
);
