/**
 * PyTorch from PyPI, for the CPU: in a virtual environment that is made once and kept in the temporary folder.
 *
 * PyPI's wheel for Linux is built for CUDA and asks for 2.5 GB of NVIDIA's libraries before it can be imported. They are not
 * installed: stand-ins take their names, in which every function answers "no device" (100, in the runtime's and in the
 * driver's numbering), so that torch finds itself on a machine without a GPU. Everything else of it is as it is released.
 */
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { PipTools } from "./pip-tools.ts";

const VERSION = "2.15.0";
/** What torch imports besides, and safetensors. */
const REQUIREMENTS = [
  "numpy==2.3.5",
  "typing_extensions==4.16.0",
  "filelock==4.2.11",
  "fsspec==2026.9.0",
  "jinja2==3.1.6",
  "networkx==3.6.1",
  "sympy==1.14.0",
  "safetensors==0.8.0",
];

const INSTALL = String.raw`
set -e
folder=$1
shift
[ -e "$folder/complete" ] && exit 0
rm -rf "$folder"
python3 -m venv "$folder"
pip() { "$folder/bin/pip" install --quiet --disable-pip-version-check --no-input --no-cache-dir "$@"; }
pip "$@"
pip --no-deps torch==${VERSION}
cd "$folder"/lib/python3*/site-packages/torch/lib
ours='lib*torch*.so libc10*.so libcaffe2*.so'
readelf -dW $ours | sed -n 's/.*(NEEDED).*\[\(lib\(cu\|nv\|nccl\).*\)\]/\1/p' | sort -u > absent-libraries
nm -D --undefined-only --without-symbol-versions $ours 2> /dev/null |
  sed -n 's/^ *[Uw] \(\(__\)\?\(cu\|nccl\|nv\)[A-Za-z0-9_]*\)$/int \1(void) { return 100; }/p' | sort -u > absent.c
gcc -w -shared -fPIC -fno-builtin -Wl,-soname,libabsent.so -o libabsent.so absent.c
while read -r name; do
  gcc -shared -nostdlib -Wl,-soname,"$name" -Wl,--no-as-needed -Wl,-rpath,'$ORIGIN' -o "$name" -L. -labsent
done < absent-libraries
touch "$folder/complete"
`;

const run = promisify(execFile);

/** @returns a Python that imports torch, numpy and safetensors @throws what pip or the compiler said */
export async function torchTools(): Promise<PipTools> {
  const root = join(tmpdir(), "hawser-pip-tools");
  const folder = join(root, `torch-${VERSION}`);
  mkdirSync(root, { recursive: true });
  await run("flock", [`${folder}.lock`, "sh", "-c", INSTALL, "sh", folder, ...REQUIREMENTS]);
  const bin = join(folder, "bin");
  return { bin, program: (name) => join(bin, name) };
}
