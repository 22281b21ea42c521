// Disks and network cards that come and go while Linux runs: found by ACPI, used, let go; into a saved state and another engine's, and over a link.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { createImage, createVm, receiveVm, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import { shell } from "./shell.ts";
import { tinyGuest } from "./tiny-guest.ts";

const MIB = 2 ** 20;

/** What Linux has, once it is that. */
async function disks(vm: Vm, wanted: string): Promise<string> {
  const look = "ls /sys/block | grep vd | tr '\\n' ' '";
  return await shell(vm, `for i in $(seq 100); do [ "$(${look})" = "${wanted}" ] && break; sleep 0.1; done; ${look}`);
}

it("disks come and go while a guest runs", { timeout: 600_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-disk-bays-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [first, second, state] = ["a.qcow2", "b.raw", "state"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await createImage(first, { sizeBytes: 64 * MIB });
  await createImage(second, { sizeBytes: 32 * MIB, format: "raw" });
  {
    await using vm = await createVm({ memoryBytes: 128 * MIB, diskBays: 2, append: "twinmetal.shell=off" });
    await vm.start();
    expect(await disks(vm, "")).toBe("");
    await expect(vm.insert("disk0", join(folder, "none"))).rejects.toThrow(/none/);
    await vm.insert("disk0", first);
    await expect(vm.insert("disk0", second)).rejects.toMatchObject({ code: "bad-state" });
    expect(await disks(vm, "vda ")).toBe("vda");
    expect(await shell(vm, "cat /sys/block/vda/size")).toBe(String((64 * MIB) / 512));
    await shell(vm, "echo kept | dd of=/dev/vda seek=100 conv=fsync 2>/dev/null");
    await vm.insert("disk1", second);
    expect(await disks(vm, "vda vdb ")).toBe("vda vdb");
    await vm.eject("disk1");
    expect(await disks(vm, "vda ")).toBe("vda");
    // Again at once: an image is not closed before the guest has let go of a disk that it hardly saw.
    await vm.insert("disk1", second);
    await vm.eject("disk1");
    await vm.insert("disk1", second);
    expect(await disks(vm, "vda vdb ")).toBe("vda vdb");
    expect(await shell(vm, "dd if=/dev/vdb of=/dev/null bs=1M && echo read")).toContain("read");
    await vm.eject("disk1");
    expect(await disks(vm, "vda ")).toBe("vda");
    await expect(vm.eject("disk0", { force: true })).rejects.toThrow("cannot be forced out");
    await vm.save(state);
  }
  await expect(restoreVm(state)).rejects.toThrow(/has a disk of 67108864 bytes in its bay disk0/);
  const vm = await restoreVm(state, { disks: [{ path: first }] });
  await vm.start();
  expect(await shell(vm, "dd if=/dev/vda skip=100 count=1 2>/dev/null | head -c 4")).toBe("kept");

  const address = `unix:${join(folder, "link")}`;
  let begin = (): void => {};
  const listening = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const arriving = receiveVm(address, { disks: [{ path: first }], onListening: () => begin() });
  await listening;
  // It takes a moment to end the last command.
  await expect.poll(() => vm.agent.isBusy, { timeout: 30_000 }).toBe(false);
  const [there] = await Promise.all([arriving, vm.migrate(address, { maxDowntimeMs: 1000 })]);
  await vm.close();
  await using moved = there;
  expect(await shell(moved, "dd if=/dev/vda skip=100 count=1 2>/dev/null | head -c 4")).toBe("kept");
  await moved.insert("disk1", second);
  expect(await disks(moved, "vda vdb ")).toBe("vda vdb");
  for (const disk of ["disk0", "disk1"]) await moved.eject(disk);
  expect(await disks(moved, "")).toBe("");
  await moved.reset();
  expect(await disks(moved, "").catch(() => disks(moved, ""))).toBe("");
});

/** Its cards beside lo, once they are so many. */
async function cards(vm: Vm, count: number): Promise<string> {
  const look = "ls /sys/class/net | grep eth | wc -l";
  return await shell(vm, `for i in $(seq 100); do [ "$(${look})" = ${count} ] && break; sleep 0.1; done; ${look}`);
}

it("network cards come and go while a guest runs", { timeout: 600_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-card-bays-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [state, wire] = [join(folder, "state"), join(folder, "wire")];
  const options = { memoryBytes: 128 * MIB, networkBays: 2, append: "twinmetal.shell=off" } as const;
  await using peer = await createVm({ ...options, networkBays: 0, networks: [{ to: "socket", path: wire }] });
  await peer.start();
  await shell(peer, "ip addr add 10.1.1.1/24 dev eth0; ip link set eth0 up");
  {
    await using vm = await createVm({ ...options, name: "box" });
    await vm.start();
    expect(await cards(vm, 0)).toBe("0");
    await vm.network.plug("net1", { to: "socket", path: wire });
    await expect(vm.network.plug("net1", { to: "loopback" })).rejects.toMatchObject({ code: "bad-state" });
    expect([await cards(vm, 1), vm.network.inBays]).toEqual(["1", ["net1"]]);
    await shell(vm, "ip addr add 10.1.1.2/24 dev eth0; ip link set eth0 up");
    expect(await shell(vm, "ping -c 1 -w 20 10.1.1.1")).toContain(" 0% packet loss");
    await vm.save(state);
  }
  await using vm = await restoreVm(state, { networks: [{ to: "nothing" }, { to: "socket", path: wire }] });
  await vm.start();
  expect(await shell(vm, "ping -c 1 -w 20 10.1.1.1")).toContain(" 0% packet loss");
  await vm.network.unplug("net1");
  expect([await cards(vm, 0), vm.network.inBays]).toEqual(["0", []]);
  await vm.network.plug("net0", { to: "socket", path: wire });
  expect(await cards(vm, 1)).toBe("1");
});

it("a network card that comes may lead to a user network", { timeout: 600_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-card-user-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const log = join(folder, "log");
  const server = createServer((socket) => socket.end("from the host"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await using vm = await createVm({ memoryBytes: 128 * MIB, networkBays: 1, append: "twinmetal.shell=off" });
  await vm.start();
  await expect(vm.network.connect(80)).rejects.toMatchObject({ code: "no-network" });
  const forwards = [{ hostPort: port, guestPort: 80 }];
  await expect(vm.network.plug("net0", { to: "user", forwards })).rejects.toThrow("somebody else uses it");
  await expect(vm.network.plug("net0", { to: "user", allow: ["a:b:c"] })).rejects.toThrow(/is no port/);
  await expect(vm.network.plug("net0", { to: "user", tftp: join(folder, "none") })).rejects.toThrow(/none/);
  expect([vm.network.inBays, await cards(vm, 0)]).toEqual([[], "0"]);

  await vm.network.plug("net0", { to: "user", allow: [`host:${port}`], log });
  expect(await cards(vm, 1)).toBe("1");
  // Addresses and names by DHCP, a route out, and no other way.
  await shell(vm, "ip link set eth0 up; udhcpc -i eth0 -q -n -t 20 -s /etc/twinmetal/dhcp");
  expect(await shell(vm, "ip -4 -o addr show eth0")).toContain("10.0.2.15");
  expect(await shell(vm, `nc 10.0.2.2 ${port}`)).toBe("from the host");
  expect(await shell(vm, `nc 10.0.2.2 ${port + 1} 2>&1 || echo no`)).toContain("no");
  await shell(vm, "echo served >/tmp/index.html; httpd -h /tmp");
  expect(await (await vm.fetch("http://guest/index.html")).text()).toBe("served\n");
  expect(readFileSync(log, "utf8")).toMatch(/"allowed":true/);

  await vm.network.unplug("net0");
  expect(await cards(vm, 0)).toBe("0");
  await expect(vm.network.connect(80)).rejects.toMatchObject({ code: "no-network" });
  await new Promise((resolve) => server.close(resolve));
  await vm.network.plug("net0", { to: "user", forwards });
  expect(await cards(vm, 1)).toBe("1");
  await shell(vm, "ip link set eth0 up; udhcpc -i eth0 -q -n -t 20 -s /etc/twinmetal/dhcp");
  expect(await (await fetch(`http://127.0.0.1:${port}/index.html`)).text()).toBe("served\n");
});
