/** Unix sockets, connected to and listened at. */
import { createServer, connect as openSocket, type Server, type Socket } from "node:net";

/** A path that is longer is cut off by the kernel. */
export const MAX_PATH_BYTES = 107;

export function connected(path: string): Promise<Socket | Error> {
  return new Promise((resolve) => {
    const socket = openSocket(path);
    socket.once("error", resolve);
    socket.once("connect", () => {
      socket.off("error", resolve);
      resolve(socket);
    });
  });
}

export function listening(path: string, onPeer: (socket: Socket) => void): Promise<Server | Error> {
  return new Promise((resolve) => {
    const server = createServer(onPeer);
    server.once("error", resolve);
    server.listen(path, () => {
      server.off("error", resolve);
      resolve(server);
    });
  });
}
