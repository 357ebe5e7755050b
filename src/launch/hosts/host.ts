/** Hosts as people write them: `[user@]host[:port]`. */

export interface HostName {
  user?: string;
  address: string;
  port?: number;
}

/** The text has passed the schema. An IPv6 address has a port only in brackets: `[fe80::1]:2222`. */
export function parseHost(text: string): HostName {
  const at = text.lastIndexOf("@");
  const user = at < 0 ? {} : { user: text.slice(0, at) };
  const rest = text.slice(at + 1);
  const bracketed = /^\[([^\]]+)\](?::(\d+))?$/.exec(rest);
  if (bracketed) return { ...user, address: bracketed[1]!, ...portOf(bracketed[2]) };
  const parts = rest.split(":");
  if (parts.length > 2) return { ...user, address: rest };
  return { ...user, address: parts[0]!, ...portOf(parts[1]) };
}

function portOf(text: string | undefined): { port?: number } {
  return text === undefined ? {} : { port: Number(text) };
}
