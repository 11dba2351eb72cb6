/**
 * Configuration: what a user sets, from where, and what is in force. Order: flag, environment
 * (`CFX_*`), configuration file, default. All mistakes are reported at once, with file and line.
 */

/** What a user may write in `cfx.config.json` (the schema is generated from this type). */
export interface RawConfig {
  /** Lets an editor check this file. */
  $schema?: string;
  /** A preset's name, or the path of a policy file (.json, .yaml), relative to this file. Default "paper-2bit". */
  policy?: string;
  /** Fail before the first step instead of running uncompressed. Default false. */
  strict?: boolean;
  /** Compare digests of all bases between ranks at each generation's end. Default false. */
  verify?: boolean;
  /** Print no proof block at the end. Default false. */
  quiet?: boolean;
  /** Print machine-readable output as well. Default false. */
  json?: boolean;
  /** Write the summary of the run to this file, relative to the working directory; null: nowhere. Default null. */
  report?: string | null;
  /** "cpu" lets xDiT run on a CPU with gloo; null leaves the device alone. Default null. */
  device?: 'cpu' | null;
  /** The Python interpreter that runs the command; null: found from the command. Default null. */
  python?: string | null;
  /**
   * How long a rank waits for the other ranks in the agreement, in seconds. Default 60.
   * @fraction
   * @exclusiveMinimum 0
   */
  agreeTimeoutSeconds?: number;
  /**
   * How long the launch may go without any rank reporting, in seconds. Default 120.
   * @fraction
   * @exclusiveMinimum 0
   */
  helloTimeoutSeconds?: number;
}

/** What is in force, every value filled in. Frozen. */
export type Config = Readonly<Required<Omit<RawConfig, '$schema'>>>;

export const DEFAULT_CONFIG: Config = Object.freeze({
  policy: 'paper-2bit',
  strict: false,
  verify: false,
  quiet: false,
  json: false,
  report: null,
  device: null,
  python: null,
  agreeTimeoutSeconds: 60,
  helloTimeoutSeconds: 120,
});

export type ConfigKey = keyof Config;

/** Each key's name on the command line and in the environment. */
export const CONFIG_NAMES: { readonly [K in ConfigKey]: { flag: string; env: string } } = {
  policy: { flag: '--policy', env: 'CFX_POLICY' },
  strict: { flag: '--strict', env: 'CFX_STRICT' },
  verify: { flag: '--verify', env: 'CFX_VERIFY' },
  quiet: { flag: '--quiet', env: 'CFX_QUIET' },
  json: { flag: '--json', env: 'CFX_JSON' },
  report: { flag: '--report', env: 'CFX_REPORT' },
  device: { flag: '--device', env: 'CFX_DEVICE' },
  python: { flag: '--python', env: 'CFX_PYTHON' },
  agreeTimeoutSeconds: { flag: '--agree-timeout', env: 'CFX_AGREE_TIMEOUT' },
  helloTimeoutSeconds: { flag: '--hello-timeout', env: 'CFX_HELLO_TIMEOUT' },
};

/** Types a configuration written in TypeScript or JavaScript; returns it as it is. */
export const defineConfig = (raw: RawConfig): RawConfig => raw;
