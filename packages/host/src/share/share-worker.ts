/**
 * The entry of the thread that has the folders which a VM shares: takes requests from the ring (share-ring.ts), carries them out
 * one after another (folder-server.ts), and kicks the machine. Files' calls do not wait for anybody, so neither does this
 * thread; when nothing comes for a while it falls back to its event loop.
 */
import { parentPort, workerData } from "node:worker_threads";
import { decodeRequest, ERRNO, MAX_ERRNO } from "@twinmetal/core";
import { kickOf } from "../vm/machine-kick.ts";
import type { ServiceReply } from "../vm/service-thread.ts";
import { plainError } from "../vm/vm-error.ts";
import { FolderServer } from "./folder-server.ts";
import { errnoOf } from "./open-files.ts";
import { shareError } from "./share-error.ts";
import type { ShareThreadStart, ToShares } from "./share-protocol.ts";
import { type ShareRequest, ShareRingServer } from "./share-ring.ts";

const LINGER_MS = 2;
/** So long the event loop may have to wait. */
const TURN_MS = 5;

const { folders, ring } = workerData as ShareThreadStart;
const ringServer = new ShareRingServer(ring);
const send = (message: ServiceReply): void => parentPort!.postMessage(message);
let servers: readonly FolderServer[] = [];
let isOpen = false;
let kick: (() => void) | undefined;

parentPort!.on("message", (message: ToShares) => {
  switch (message.type) {
    case "kick":
      kick = kickOf(message);
      break;
    case "open":
      answer(message.id, open);
      break;
    case "suspend":
      answer(message.id, suspend);
      break;
  }
});

function answer(id: number, action: () => void): void {
  try {
    action();
    send({ type: "reply", id });
  } catch (error) {
    send({ type: "reply", id, error: plainError(error) });
  }
}

function open(): void {
  const opened: FolderServer[] = [];
  for (const folder of folders) {
    try {
      opened.push(new FolderServer(folder));
    } catch (error) {
      for (const server of opened) server.close();
      throw shareError(error, folder.path);
    }
  }
  servers = opened;
  isOpen = true;
  ringServer.wake();
}

function suspend(): void {
  if (!isOpen) return;
  carryOutAll();
  isOpen = false;
  for (const server of servers) server.close();
  servers = [];
}

function carryOutAll(): number {
  if (!isOpen) return 0;
  const requests = ringServer.take();
  for (const request of requests) carryOut(request);
  return requests.length;
}

function carryOut(request: ShareRequest): void {
  try {
    const done = servers[request.share]!.perform(decodeRequest(request.message), request.data, request.reply);
    if (typeof done !== "number") request.reply.set(done);
    ringServer.done(request, 0, typeof done === "number" ? done : done.length);
  } catch (error) {
    const errno = errnoOf(error) ?? ERRNO.IO;
    ringServer.done(request, errno > 0 && errno <= MAX_ERRNO ? errno : ERRNO.IO, 0);
  }
  kick?.();
}

async function serve(): Promise<never> {
  let turnMs = performance.now();
  for (;;) {
    const { work } = ringServer;
    const isBusy = carryOutAll() > 0 || (isOpen && ringServer.waitForWork(work, LINGER_MS));
    if (isBusy && performance.now() - turnMs < TURN_MS) continue;
    if (isBusy) await new Promise((resolve) => setImmediate(resolve));
    else await ringServer.untilWork(work);
    turnMs = performance.now();
  }
}

void serve();
