/**
 * Supervisor: how the process of a mount talks to the one that started it.
 *
 * A background mount and a mount from the library have a parent at the other end of Node's IPC channel; a mount in the
 * foreground has only its terminal. The parent hears `ready` or `failed`, and hands over credentials when asked. When
 * it goes away without having said `detach`, the mount has lost its owner and ends.
 */
import { HawserError } from "../common/errors.ts";
import type { EpochMs } from "../common/units.ts";
import { fromErrorMessage, toErrorMessage } from "./control-protocol.ts";
import type { ErrorMessage, MountStatus } from "./control-protocol.ts";

/** Credentials as they travel; never logged, never stored. */
export interface HandedCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  expiresMs?: EpochMs | undefined;
}

export type ToParent =
  | { type: "ready"; status: MountStatus }
  | { type: "note"; text: string }
  | { type: "failed"; error: ErrorMessage }
  | { type: "credentials"; id: number };

export type ToDaemon =
  | { type: "detach" }
  | { type: "credentials"; id: number; credentials: HandedCredentials }
  | { type: "credentials"; id: number; error: ErrorMessage };

export interface Supervisor {
  ready(status: MountStatus): void;
  /** Something the user should know, that stops nothing. */
  note(text: string): void;
  failed(error: HawserError): void;
  /** @throws HawserError what the parent's callable rejects with; `credentials_missing` where there is no parent */
  credentials(): Promise<HandedCredentials>;
  /** Calls `fn` when the parent is gone without having detached. */
  onLost(fn: () => void): void;
}

/** The supervisor at the other end of this process's IPC channel, or undefined where there is none. */
export function parentSupervisor(): Supervisor | undefined {
  if (!process.send) return undefined;
  const waiting = new Map<number, (answer: Extract<ToDaemon, { type: "credentials" }>) => void>();
  let nextId = 1;
  let lost: (() => void) | undefined;
  let detached = false;
  process.on("message", (message: ToDaemon) => {
    if (message.type === "detach") {
      detached = true;
      process.disconnect();
      return;
    }
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  process.on("disconnect", () => {
    for (const [id, answer] of waiting) {
      answer({ type: "credentials", id, error: toErrorMessage(parentGone()) });
    }
    waiting.clear();
    if (!detached) lost?.();
  });
  const send = (message: ToParent): void => {
    if (process.connected) process.send?.(message, undefined, undefined, () => {});
  };
  return {
    ready: (status) => send({ type: "ready", status }),
    note: (text) => send({ type: "note", text }),
    failed: (error) => send({ type: "failed", error: toErrorMessage(error) }),
    credentials() {
      if (!process.connected) return Promise.reject(parentGone());
      const id = nextId++;
      return new Promise((resolve, reject) => {
        waiting.set(id, (answer) => {
          if ("error" in answer) reject(fromErrorMessage(answer.error));
          else resolve(answer.credentials);
        });
        send({ type: "credentials", id });
      });
    },
    onLost(fn) {
      lost = fn;
      if (!process.connected && !detached) fn();
    },
  };
}

function parentGone(): HawserError {
  return new HawserError(
    "credentials_missing",
    "The program that gave this mount its credentials has ended; mount again.",
  );
}
