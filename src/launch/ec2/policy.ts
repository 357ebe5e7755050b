/**
 * Policies: what a node may do, and what a user must be allowed to start one. Pure: documents from values.
 */

export interface Access {
  bucket: string;
  prefix: string;
  mode: "read-only" | "writable";
}

export interface Statement {
  Sid?: string;
  Effect: "Allow";
  Action: readonly string[];
  Resource: string | readonly string[];
  Condition?: Record<string, Record<string, string | readonly string[]>>;
}

export interface PolicyDocument {
  Version: "2012-10-17";
  Statement: readonly Statement[];
}

export const TRUST_EC2 = {
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Principal: { Service: "ec2.amazonaws.com" }, Action: "sts:AssumeRole" }],
} as const;

const READ = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging"];
const WRITE = [
  ...READ,
  "s3:PutObject",
  "s3:PutObjectTagging",
  "s3:DeleteObject",
  "s3:AbortMultipartUpload",
  "s3:ListMultipartUploadParts",
];

function partition(region: string): string {
  if (region.startsWith("cn-")) return "aws-cn";
  return region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
}

/** `*` and `?` of a prefix mean themselves; IAM has no other escape. */
function literal(prefix: string): string {
  return prefix.replace(/[*?$]/g, (letter) => `\${${letter}}`);
}

/** What a node may do: list and read what is declared, write what is writable, and nothing else. */
export function nodePolicy(accesses: readonly Access[], region: string): PolicyDocument {
  const arn = `arn:${partition(region)}:s3:::`;
  const statements = accesses.flatMap(({ bucket, prefix, mode }): Statement[] => {
    const within = literal(prefix);
    const condition = prefix === "" ? {} : { Condition: { StringLike: { "s3:prefix": [`${within}*`] } } };
    const list: Statement = {
      Effect: "Allow",
      Action: ["s3:ListBucket", "s3:ListBucketVersions"],
      Resource: `${arn}${bucket}`,
      ...condition,
    };
    const locate: Statement = {
      Effect: "Allow",
      Action: ["s3:GetBucketLocation", ...(mode === "writable" ? ["s3:ListBucketMultipartUploads"] : [])],
      Resource: `${arn}${bucket}`,
    };
    const objects: Statement = {
      Effect: "Allow",
      Action: mode === "writable" ? WRITE : READ,
      Resource: `${arn}${bucket}/${within}*`,
    };
    return [list, locate, objects];
  });
  return { Version: "2012-10-17", Statement: statements };
}

/** What a user needs for pools of instances; `hawser pool policy` prints it. */
export function userPolicy(): PolicyDocument {
  return {
    Version: "2012-10-17",
    Statement: [
      {
        Sid: "Look",
        Effect: "Allow",
        Action: ["ec2:Describe*", "ssm:GetParameter", "iam:ListRoles", "iam:SimulatePrincipalPolicy"],
        Resource: "*",
      },
      {
        Sid: "Make",
        Effect: "Allow",
        Action: [
          "ec2:CreateFleet",
          "ec2:RunInstances",
          "ec2:CreateLaunchTemplate",
          "ec2:CreateSecurityGroup",
          "ec2:CreatePlacementGroup",
          "ec2:AllocateAddress",
          "ec2:CreateTags",
        ],
        Resource: "*",
      },
      {
        Sid: "ChangeOwn",
        Effect: "Allow",
        Action: [
          "ec2:TerminateInstances",
          "ec2:StopInstances",
          "ec2:StartInstances",
          "ec2:DeleteLaunchTemplate",
          "ec2:DeleteSecurityGroup",
          "ec2:DeleteVolume",
          "ec2:AssociateAddress",
          "ec2:DisassociateAddress",
          "ec2:ReleaseAddress",
          "ec2:DeletePlacementGroup",
          "ec2:AuthorizeSecurityGroupIngress",
          "ec2:AuthorizeSecurityGroupEgress",
          "ec2:RevokeSecurityGroupIngress",
        ],
        Resource: "*",
        Condition: { StringLike: { "aws:ResourceTag/hawser:pool": "*" } },
      },
      {
        Sid: "Profiles",
        Effect: "Allow",
        Action: [
          "iam:CreateRole",
          "iam:DeleteRole",
          "iam:GetRole",
          "iam:TagRole",
          "iam:ListRoleTags",
          "iam:PutRolePolicy",
          "iam:DeleteRolePolicy",
          "iam:PassRole",
          "iam:CreateInstanceProfile",
          "iam:DeleteInstanceProfile",
          "iam:GetInstanceProfile",
          "iam:TagInstanceProfile",
          "iam:AddRoleToInstanceProfile",
          "iam:RemoveRoleFromInstanceProfile",
        ],
        Resource: ["arn:*:iam::*:role/hawser/*", "arn:*:iam::*:instance-profile/hawser/*"],
      },
      {
        // The roles that EC2 itself needs, made once in an account.
        Sid: "FirstFleet",
        Effect: "Allow",
        Action: ["iam:CreateServiceLinkedRole"],
        Resource: "*",
        Condition: {
          StringEquals: { "iam:AWSServiceName": ["spot.amazonaws.com", "ec2fleet.amazonaws.com"] },
        },
      },
    ],
  };
}
