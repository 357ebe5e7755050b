/** Small Python programs, for system calls that Node does not have. They run in a process of their own. */
import { execFile } from "node:child_process";

const PRELUDE = `
import ctypes, errno, fcntl, hashlib, json, mmap, os, sys
args = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def answer(value):
    print(json.dumps(value))
def name_of(work):
    "The name of the errno that work() fails with, or what it returns."
    try:
        return work()
    except OSError as error:
        return errno.errorcode[error.errno]
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "libc")
    return result
`;

/** Runs `code`, which finds its arguments in `args` and calls `answer(value)` once. */
export function python<T>(code: string, ...args: unknown[]): Promise<T> {
  return new Promise((resolve, reject) => {
    const argv = ["-c", PRELUDE + code, JSON.stringify(args)];
    execFile("python3", argv, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr || error.message));
      else resolve(JSON.parse(stdout) as T);
    });
  });
}
