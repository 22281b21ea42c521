/** Commands of virtio-net's control queue (virtio 1.2, 5.1.6.5): filtering, and the card's address. */
import type { FilterMode, ReceiveFilter } from "../network/receive-filter.ts";
import { MAC_BYTES } from "../network-channel.ts";
import type { DescriptorChain } from "./descriptor-chain.ts";

export const CONTROL_CLASS = { RX: 0, MAC: 1 } as const;
export const CONTROL_ACK = { OK: 0, ERR: 1 } as const;
export const CONTROL_MAC = { TABLE_SET: 0, ADDR_SET: 1 } as const;
const HEADER_BYTES = 2;
/** By the commands' numbers. */
const RX_MODES: readonly FilterMode[] = [
  "promiscuous",
  "allMulticast",
  "allUnicast",
  "noMulticast",
  "noUnicast",
  "noBroadcast",
];
/** More are not kept; of what else a driver says only the number is read. */
const MAX_READ_ADDRESSES = 64;

/** False: it is none, or refused. `mac`: the card's address, which one of them sets. */
export function carryOut(chain: DescriptorChain, filter: ReceiveFilter, mac: Uint8Array): boolean {
  const header = new Uint8Array(HEADER_BYTES);
  if (!chain.read(0, header)) return false;
  const [group, command] = header as unknown as [number, number];
  if (group === CONTROL_CLASS.RX) return setMode(chain, RX_MODES[command], filter);
  if (group !== CONTROL_CLASS.MAC) return false;
  if (command === CONTROL_MAC.TABLE_SET) return setTables(chain, filter);
  const address = new Uint8Array(MAC_BYTES);
  if (command !== CONTROL_MAC.ADDR_SET || !chain.read(HEADER_BYTES, address) || (address[0]! & 1) !== 0) return false;
  mac.set(address);
  return true;
}

function setMode(chain: DescriptorChain, mode: FilterMode | undefined, filter: ReceiveFilter): boolean {
  const value = new Uint8Array(1);
  if (!mode || !chain.read(HEADER_BYTES, value)) return false;
  filter.set(mode, value[0] !== 0);
  return true;
}

/** Two tables behind each other, each a number and so many addresses. */
function setTables(chain: DescriptorChain, filter: ReceiveFilter): boolean {
  let at = HEADER_BYTES;
  const tables: { readonly count: number; readonly addresses: Uint8Array }[] = [];
  for (let i = 0; i < 2; i++) {
    const word = new Uint8Array(4);
    if (!chain.read(at, word)) return false;
    const count = new DataView(word.buffer).getUint32(0, true);
    const addresses = new Uint8Array(MAC_BYTES * Math.min(count, MAX_READ_ADDRESSES));
    if (at + 4 + MAC_BYTES * count > chain.readableBytes || !chain.read(at + 4, addresses)) return false;
    tables.push({ count, addresses });
    at += 4 + MAC_BYTES * count;
  }
  filter.setList("unicast", tables[0]!.addresses, tables[0]!.count);
  filter.setList("multicast", tables[1]!.addresses, tables[1]!.count);
  return true;
}
