/** Images: which one nodes start from, and who logs in to it. */
import { HawserError } from "../../common/errors.ts";
import { serviceCode } from "./clients.ts";
import type { Clients } from "./clients.ts";

export interface Image {
  id: string;
  rootDevice: string;
  /** Who the image lets in. */
  user: string;
}

type Arch = "x64" | "arm64";

/** Public parameters that name the newest image of each kind. */
const PARAMETERS: Record<string, (arch: Arch) => string> = {
  ubuntu: (arch) =>
    `/aws/service/canonical/ubuntu/server/24.04/stable/current/${arch === "x64" ? "amd64" : "arm64"}/hvm/ebs-gp3/ami-id`,
  "amazon-linux": (arch) =>
    `/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${arch === "x64" ? "x86_64" : "arm64"}`,
  "deep-learning": (arch) =>
    `/aws/service/deeplearning/ami/${arch === "x64" ? "x86_64" : "arm64"}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id`,
};

/** @throws HawserError `provision_failed` that says which image does not exist where */
export async function findImage(clients: Clients, wanted: string, arch: Arch): Promise<Image> {
  const id = wanted.startsWith("ami-")
    ? wanted
    : await parameter(clients, PARAMETERS[wanted]?.(arch) ?? wanted);
  const { Images: [image] = [] } = await clients.ec2("DescribeImages", (client, sdk, options) =>
    client.send(new sdk.DescribeImagesCommand({ ImageIds: [id] }), options),
  );
  if (!image) {
    throw new HawserError(
      "provision_failed",
      `The image ${id} does not exist in ${clients.region}, or is not shared with you.`,
    );
  }
  const name = `${image.Name ?? ""} ${image.Description ?? ""}`.toLowerCase();
  const ubuntu = wanted === "ubuntu" || wanted === "deep-learning" || name.includes("ubuntu");
  const user = ubuntu ? "ubuntu" : name.includes("debian") ? "admin" : "ec2-user";
  return { id, rootDevice: image.RootDeviceName ?? "/dev/sda1", user };
}

async function parameter(clients: Clients, name: string): Promise<string> {
  try {
    const { Parameter } = await clients.ssm("GetParameter", (client, sdk, options) =>
      client.send(new sdk.GetParameterCommand({ Name: name }), options),
    );
    if (Parameter?.Value) return Parameter.Value;
  } catch (error) {
    if (serviceCode(error) !== "ParameterNotFound") throw error;
  }
  throw new HawserError(
    "provision_failed",
    `${clients.region} has no image under ${name}; give an id with ami:, or another region.`,
  );
}
