/**
 * Drives Python from TypeScript: opens a session, builds a small FLUX pipeline, generates one picture,
 * closes the session; the process then exits by itself. Needs the environment of `npx cfx setup`.
 *
 * From the package's folder: node programmatic.js [picture.png] [steps] [model folder]
 */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { openPython } from 'compactfusion';

const [picture = 'programmatic.png', steps = '4', model = 'examples/models/scenes-flux'] = process.argv.slice(2);
const python = process.env.CFX_PYTHON ?? execFileSync('npx', ['cfx', 'setup', '--print-python'], { encoding: 'utf8' }).trim();

const session = await openPython({ python });
try {
  await session.run(
    `
import torch
from diffusers import FluxPipeline

pipe = FluxPipeline.from_pretrained(model, torch_dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)
`,
    { model: resolve(model) },
  );
  const size = await session.run(
    `
image = pipe(
    prompt="a large red star above a small blue circle at sunset",
    height=256,
    width=256,
    max_sequence_length=32,
    num_inference_steps=steps,
    generator=torch.Generator("cpu").manual_seed(0),
).images[0]
image.save(picture)
result = list(image.size)
`,
    { steps: Number(steps), picture: resolve(picture) },
  );
  console.log(`wrote ${picture}, ${size}`);
} finally {
  await session.close();
}
