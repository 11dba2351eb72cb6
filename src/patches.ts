/**
 * The symbols that each adapter replaces, for `cfx doctor` and `--dry-run`. A rank reports what it
 * really replaced; test/doctor.test.ts compares the two.
 */
import type { AdapterName } from './adapter.js';

const USP = 'xfuser.model_executor.layers.usp';

export const PATCHES: { readonly [name in AdapterName]: readonly string[] } = {
  xdit: [
    `${USP}._combined_qkv_all_to_all`,
    `${USP}._combined_gqa_qkv_all_to_all`,
    `${USP}._ft_c_input_all_to_all`,
    `${USP}._ft_c_output_all_to_all`,
    `${USP}.ring_attn`,
    'torch.distributed.tensor.experimental._context_parallel._attention._create_rotater',
  ],
};
