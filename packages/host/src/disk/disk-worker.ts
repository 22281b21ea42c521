/**
 * The entry of the thread that has the images of a VM's disks: takes requests from the ring (block-ring.ts), carries them
 * out by storage's formats, and kicks the machine. Files' calls are mostly synchronous and quick; while all are, this
 * thread waits for work as the machine's does, and falls back to its event loop when nothing comes.
 *
 * A write that finds no space is kept and the VM paused; it is made again on "retry". All other errors are the guest's.
 */
import { parentPort, workerData } from "node:worker_threads";
import { type BlockDevice, joinParts, StorageError } from "@twinmetal/storage";
import { kickOf } from "../vm/machine-kick.ts";
import { plainError } from "../vm/vm-error.ts";
import { type RingRequest, RingServer } from "./block-ring.ts";
import { DiskLimiter } from "./disk-limiter.ts";
import type { DiskLimits, DiskOptions, DisksReply, DiskThreadStart, FromDisks, ToDisks } from "./disk-protocol.ts";
import { openVmDisk } from "./open-vm-disk.ts";
import { readParts, writeParts } from "./scattered-bytes.ts";
import { SpaceLimit } from "./space-limit.ts";

/** Waiting in the event loop costs three times the wait of a thread that does nothing else. */
const LINGER_MS = 2;
/** So long the event loop may have to wait. */
const TURN_MS = 5;
/** Steps that a request takes which never leaves the thread. */
const STEPS = 64;

const { disks: given, ring } = workerData as DiskThreadStart;
const options: (DiskOptions | undefined)[] = [...given];
const server = new RingServer(ring);
const send = (message: FromDisks): void => parentPort!.postMessage(message);
/** Undefined: a drive without a disc, a bay without a disk. */
let disks: (BlockDevice | undefined)[] = [];
let isOpen = false;
let underWay = 0;
let blocked: RingRequest[] = [];
const spaces = given.map((disk) => spaceLimit(disk?.limits));
const limiters = given.map((disk) => diskLimiter(disk?.limits));
let kick: (() => void) | undefined;
/** Requests are being carried out that were taken together: the machine is kicked once for them. */
let isInBatch = false;
let owesKick = false;
let idleWaiters: (() => void)[] = [];

parentPort!.on("message", (message: ToDisks) => {
  switch (message.type) {
    case "kick":
      kick = kickOf(message);
      break;
    case "memory":
      server.reach(message.memory);
      break;
    case "retry":
      retry();
      send({ type: "reply", id: message.id });
      break;
    case "open":
      void answer(message.id, open);
      break;
    case "change":
      void answer(message.id, () => change(message.disk, message.options));
      break;
    case "move":
      options[message.disk] = message.options;
      send({ type: "reply", id: message.id });
      break;
    case "limit":
      limiters[message.disk]?.set(message.limits);
      spaces[message.disk]!.bytes = message.limits.spaceBytes;
      send({ type: "reply", id: message.id });
      break;
    case "usage":
      send({ type: "reply", id: message.id, usage: limiters.map(({ usage }) => usage) });
      break;
    case "suspend":
      void answer(message.id, suspend);
      break;
    case "flush":
      void answer(message.id, flush);
      break;
  }
});

function spaceLimit(limits: DiskLimits = {}): SpaceLimit {
  const space = new SpaceLimit();
  space.bytes = limits.spaceBytes;
  return space;
}

function diskLimiter(limits: DiskLimits = {}): DiskLimiter<RingRequest> {
  let timer: NodeJS.Timeout | undefined;
  const limiter = new DiskLimiter<RingRequest>({
    nowMs: () => performance.now(),
    setTimer: (callback, afterMs) => {
      clearTimeout(timer);
      timer = setTimeout(callback, afterMs);
    },
    carryOut: (request) => void carryOut(request),
  });
  limiter.set(limits);
  return limiter;
}

async function answer(id: number, action: () => Promise<DisksReply | undefined>): Promise<void> {
  try {
    send({ ...(await action()), type: "reply", id });
  } catch (error) {
    send({ type: "reply", id, error: plainError(error) });
  }
}

async function open(): Promise<DisksReply> {
  const opened: (BlockDevice | undefined)[] = [];
  try {
    for (const [index, disk] of options.entries()) opened.push(disk && (await openVmDisk(disk, spaces[index])));
  } catch (error) {
    for (const disk of opened) await disk?.close().catch(() => {});
    throw error;
  }
  disks = opened;
  isOpen = true;
  server.setOpen(true);
  retry();
  const found = disks.map((disk) => ({ sizeBytes: disk?.sizeBytes ?? 0, isReadOnly: disk?.isReadOnly ?? true }));
  return { type: "reply", id: 0, disks: found };
}

/** What is under way ends with the old one. */
async function change(index: number, next: DiskOptions | undefined): Promise<DisksReply> {
  const opened = next && (await openVmDisk(next, spaces[index]));
  limiters[index]?.passAll();
  await untilIdle();
  const old = disks[index];
  disks[index] = opened;
  options[index] = next;
  await old?.close();
  return {
    type: "reply",
    id: 0,
    disks: opened ? [{ sizeBytes: opened.sizeBytes, isReadOnly: opened.isReadOnly }] : [],
  };
}

async function suspend(): Promise<undefined> {
  if (!isOpen) return undefined;
  // A guest that has ended may have left writes behind.
  takeAll();
  for (const limiter of limiters) limiter.passAll();
  isOpen = false;
  server.setOpen(false);
  await untilIdle();
  let failed: unknown;
  for (const disk of disks) await disk?.close().catch((error: unknown) => (failed ??= error));
  disks = [];
  if (failed !== undefined) throw failed;
  return undefined;
}

async function flush(): Promise<undefined> {
  takeAll();
  for (const limiter of limiters) limiter.passAll();
  await untilIdle();
  for (const disk of disks) if (disk && !disk.isReadOnly) await disk.flush();
  return undefined;
}

async function untilIdle(): Promise<void> {
  while (underWay > 0) {
    await new Promise<void>((resolve) => idleWaiters.push(resolve));
  }
}

function retry(): void {
  const again = blocked;
  blocked = [];
  for (const request of again) void carryOut(request);
  server.wake();
}

function takeAll(): number {
  if (!isOpen) return 0;
  const requests = server.take();
  for (const request of requests) limiters[request.disk]!.submit(request);
  if (server.isAwaited) for (const limiter of limiters) limiter.passAll();
  return requests.length;
}

async function carryOut(request: RingRequest): Promise<void> {
  const disk = disks[request.disk];
  // Of a disc that is not in the drive any more.
  const isRemovable = options[request.disk]?.isCdrom || options[request.disk]?.bus === "floppy";
  if (!disk || (isRemovable && request.offset + request.length > disk.sizeBytes)) {
    done(request, false);
    return;
  }
  underWay++;
  try {
    await perform(disk, request);
    done(request, true);
  } catch (error) {
    failed(request, error);
  } finally {
    underWay--;
    if (underWay === 0) {
      for (const told of idleWaiters) told();
      idleWaiters = [];
    }
  }
}

function done(request: RingRequest, isOk: boolean): void {
  server.done(request, isOk);
  if (isInBatch) owesKick = true;
  else kick?.();
}

function endBatch(): void {
  isInBatch = false;
  if (owesKick) kick?.();
  owesKick = false;
}

async function perform(disk: BlockDevice, request: RingRequest): Promise<void> {
  const { operation, offset, length, bytes, mayUnmap, parts } = request;
  switch (operation) {
    case "read":
      return await (parts ? readParts(disk, offset, parts) : disk.read(offset, bytes));
    case "write":
      return await (parts ? writeParts(disk, offset, parts) : disk.write(offset, bytes));
    case "flush":
      return await disk.flush();
    case "discard":
      return await disk.discard(offset, length);
    case "write-zeroes":
      return await disk.writeZeroes(offset, length, mayUnmap);
  }
}

function failed(request: RingRequest, error: unknown): void {
  const path = options[request.disk]?.path ?? "";
  const { message } = plainError(error);
  const code = error instanceof StorageError ? error.code : "internal";
  const isBlocked = code === "no-space";
  if (isBlocked) blocked.push(parked(request));
  else {
    done(request, false);
  }
  send({ type: "problem", problem: { path, code, message, isBlocked } });
}

/** The guest stands still and may be started anew: its memory is not waited with. */
function parked(request: RingRequest): RingRequest {
  if (!request.parts) return request;
  const bytes = joinParts(request.parts);
  server.park(request);
  return { ...request, bytes, parts: undefined };
}

async function serve(): Promise<never> {
  let turnMs = performance.now();
  for (;;) {
    const { work } = server;
    isInBatch = true;
    const taken = takeAll();
    for (let step = 0; step < STEPS && underWay > 0; step++) await undefined;
    endBatch();
    const isBusy = taken > 0 || (underWay === 0 && isOpen && server.waitForWork(work, LINGER_MS));
    if (isBusy && performance.now() - turnMs < TURN_MS) continue;
    if (isBusy) await new Promise((resolve) => setImmediate(resolve));
    else await server.untilWork(work);
    turnMs = performance.now();
  }
}

void serve();
