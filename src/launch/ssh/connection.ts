/**
 * A login to one node: commands, channels, files.
 *
 * Every wait takes a signal; a connection that breaks ends what is under way with `ssh_unreachable`. Whoever holds a
 * connection closes it.
 */
import type { Readable } from "node:stream";
import type { NodeSSH } from "node-ssh";
import type { Channel, Client, ClientChannel, SFTPWrapper } from "ssh2";
import { HawserError } from "../../common/errors.ts";

export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  signal: AbortSignal;
  /** Written to its standard input, which then ends. */
  stdin?: string | undefined;
  /** Told of output as it comes; it is in the result all the same. */
  onOutput?: ((stream: "out" | "err", chunk: Buffer) => void) | undefined;
}

export class SshConnection implements Disposable {
  /** What the user calls the host. */
  readonly label: string;
  /** Settles when the connection is gone, for whatever reason. Never rejects. */
  readonly ended: Promise<void>;
  private readonly ssh: NodeSSH;
  private readonly client: Client;
  private way: SshConnection[] = [];
  private closed = false;
  private files: Promise<SFTPWrapper> | undefined;

  constructor(ssh: NodeSSH, label: string) {
    this.ssh = ssh;
    this.client = ssh.connection!;
    this.label = label;
    this.ended = new Promise((resolve) => {
      this.client.once("close", () => {
        this.closed = true;
        resolve();
      });
    });
    // Whoever waits hears it through `ended`; without a listener it would end the process.
    this.client.on("error", () => {});
  }

  get isOpen(): boolean {
    return !this.closed;
  }

  /** Connections that this one goes through. */
  closeAfter(way: SshConnection[]): void {
    this.way = way;
  }

  /** Runs a command of the login's shell to its end. @throws HawserError `ssh_unreachable`, or why it was aborted */
  async run(command: string, { signal, stdin, onOutput }: CommandOptions): Promise<CommandResult> {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let exit: number | undefined;
    let closed!: Promise<void>;
    // All in the callback: a short command's exit comes in the same packet as the channel.
    const channel = await this.exec(command, signal, (channel) => {
      channel.on("data", (chunk: Buffer) => {
        out.push(chunk);
        onOutput?.("out", chunk);
      });
      channel.stderr.on("data", (chunk: Buffer) => {
        err.push(chunk);
        onOutput?.("err", chunk);
      });
      channel.on("exit", (status: number | null) => {
        exit = status ?? 255;
      });
      closed = new Promise((resolve) => channel.once("close", () => resolve()));
      channel.end(stdin ?? "");
    });
    const onAbort = (): void => void channel.destroy();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await closed;
      signal.throwIfAborted();
      if (exit === undefined) throw this.lost();
      return { code: exit, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Starts a command; its channel is the caller's to read, write and close.
   *
   * @param listen adds listeners before anything can have happened on the channel
   */
  exec(
    command: string,
    signal: AbortSignal,
    listen: (channel: ClientChannel) => void = () => {},
  ): Promise<ClientChannel> {
    return this.open(signal, (done) => {
      this.client.exec(command, (error, channel) => {
        if (!error) listen(channel);
        done(error, channel);
      });
    });
  }

  /** A shell in a terminal of the same size. */
  shell(window: { rows: number; cols: number; term: string }, signal: AbortSignal): Promise<ClientChannel> {
    return this.open(signal, (done) => this.client.shell(window, done));
  }

  /** A command in a terminal. */
  execInTerminal(
    command: string,
    window: { rows: number; cols: number; term: string },
    signal: AbortSignal,
  ): Promise<ClientChannel> {
    return this.open(signal, (done) => this.client.exec(command, { pty: window }, done));
  }

  /** A connection from the host to somewhere it can reach. */
  forwardOut(host: string, port: number): Promise<Channel & Readable> {
    return new Promise((resolve, reject) => {
      this.client.forwardOut("127.0.0.1", 0, host, port, (error, channel) => {
        if (!error) resolve(channel);
        else {
          reject(
            new HawserError(
              "ssh_unreachable",
              `${this.label} cannot reach ${host} port ${port} (${error.message}).`,
              {
                cause: error,
              },
            ),
          );
        }
      });
    });
  }

  /** One file channel for everything on this connection: sshd allows only a few sessions. */
  sftp(signal: AbortSignal): Promise<SFTPWrapper> {
    this.files ??= this.open<SFTPWrapper>(signal, (done) => this.client.sftp(done));
    return this.files;
  }

  close(): void {
    this.closed = true;
    this.ssh.dispose();
    for (const connection of this.way.reverse()) connection.close();
    this.way = [];
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private open<T>(
    signal: AbortSignal,
    start: (done: (error: Error | undefined, opened: T) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal.aborted || this.closed) {
        reject(signal.aborted ? (signal.reason as Error) : this.lost());
        return;
      }
      const onAbort = (): void => reject(signal.reason as Error);
      signal.addEventListener("abort", onAbort, { once: true });
      void this.ended.then(() => reject(this.lost()));
      try {
        start((error, opened) => {
          signal.removeEventListener("abort", onAbort);
          if (error) reject(this.lost(error));
          else resolve(opened);
        });
      } catch (error) {
        reject(this.lost(error));
      }
    });
  }

  private lost(cause?: unknown): HawserError {
    const why = cause instanceof Error ? ` (${cause.message})` : "";
    return new HawserError("ssh_unreachable", `The connection to ${this.label} was lost${why}.`, { cause });
  }
}
