/** Terminal: where a command's words go, and in which colours. */
import { styleText } from "node:util";

export type Style = "red" | "green" | "yellow" | "cyan" | "dim" | "bold";

export interface Terminal {
  /** Results: one line to stdout. */
  out(line: string): void;
  /** Everything else: one line to stderr. */
  err(line: string): void;
  /** Colours a text for stdout, where that shows colours. */
  paint(style: Style, text: string): string;
  /** The same for stderr. */
  paintErr(style: Style, text: string): string;
  /** A person is there to answer. */
  readonly interactive: boolean;
  readonly columns: number;
  /** Show stacks. */
  readonly verbose: boolean;
  readonly environment: NodeJS.ProcessEnv;
}

/** NO_COLOR and FORCE_COLOR as agreed between tools; otherwise colours only where a person looks. */
export function wantsColour(stream: { isTTY?: boolean }, environment: NodeJS.ProcessEnv): boolean {
  if (environment["NO_COLOR"]) return false;
  if (environment["FORCE_COLOR"] && environment["FORCE_COLOR"] !== "0") return true;
  return stream.isTTY === true && environment["TERM"] !== "dumb";
}

export function processTerminal(verbose: boolean): Terminal {
  const { stdout, stderr, stdin, env } = process;
  const painter = (colour: boolean) => (style: Style, text: string) =>
    colour ? styleText(style, text, { validateStream: false }) : text;
  return {
    out: (line) => void stdout.write(`${line}\n`),
    err: (line) => void stderr.write(`${line}\n`),
    paint: painter(wantsColour(stdout, env)),
    paintErr: painter(wantsColour(stderr, env)),
    interactive: stdin.isTTY && stderr.isTTY,
    columns: stdout.columns ?? 100,
    verbose: verbose || Boolean(env["HAWSER_DEBUG"]),
    environment: env,
  };
}
