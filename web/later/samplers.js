/* samplers.js: what each sampler and schedule is good for, in a line. */
import { $, setText } from '../dom.js';

const SAMPLERS = {
  'DPM++ 2M': 'Clean and quick: a good picture in 20 to 30 steps, the same again with more.',
  'DPM++ SDE': 'Much detail in few steps, each of which takes twice as long.',
  'DPM++ 2M SDE': 'Rich detail and soft light in 25 to 40 steps.',
  'DPM++ 2M SDE Heun': 'Like DPM++ 2M SDE, steadier, for 25 to 40 steps.',
  'DPM++ 2S a': 'Lively, each step takes twice as long; every number of steps is another picture.',
  'DPM++ 3M SDE': 'The finest texture of these; wants 40 steps or more.',
  'Euler a': 'Quick and free: soft pictures in 20 steps; every number of steps is another picture.',
  Euler: 'The plain one: calm pictures, good to compare with.',
  LMS: 'An old, gentle one; wants 40 steps or more.',
  Heun: 'Euler looked at twice: truer in few steps, each of which takes twice as long.',
  DPM2: 'Exact and slow: each step takes twice as long.',
  'DPM2 a': 'DPM2 with fresh noise: lively and slow.',
  'DPM fast': 'A first look in 10 to 15 steps.',
  'DPM adaptive': 'Chooses its steps itself until it is sure: slow, and as good as they come.',
  Restart: 'Goes back and paints again now and then: few faults, more time.',
  DDIM: 'Steady, and good over a picture: it keeps what is there.',
  'DDIM CFG++': 'DDIM for low guidance, 1 to 2: natural colours.',
  PLMS: 'DDIM with a memory; wants 30 steps or more.',
  UniPC: 'Good pictures in as few as 10 to 15 steps.',
  LCM: 'For models and LoRAs made for it: 4 to 8 steps, guidance 1 to 2.',
  'Euler CFG++': 'Euler for low guidance, 1 to 2: natural colours.',
  'Euler a CFG++': 'Euler a for low guidance, 1 to 2.',
  DDPM: 'How models were trained: wants many steps, and gives much detail.',
  DEIS: 'Good pictures in 10 to 20 steps, calm ones.',
  IPNDM: 'A memory of four steps: good from 15 steps on.',
};
const SCHEDULES = {
  automatic: 'What the sampler likes best.',
  uniform: 'Even steps, as most models were trained.',
  karras: 'More steps at the end, where details come: good with few.',
  exponential: 'Even smoother at the end; suits the SDE samplers.',
  polyexponential: 'Exponential with a bend of its own.',
  sgm_uniform: 'Even steps for models that were made quick, such as turbo and lightning.',
  simple: 'Even steps without refinement; suits LCM.',
  normal: 'Even steps in the model’s own time.',
  ddim: 'What DDIM was made with.',
  beta: 'More steps at both ends: layout and details.',
  kl_optimal: 'Steps that lose the least on the way: good with few.',
  align_your_steps: 'Steps found by search for SD 1.5 and SDXL: good with about 10.',
};

/* Under their lists. */
export function show() {
  setText($('sampler-about'), SAMPLERS[$('sampler').value] ?? '');
  setText($('scheduler-about'), SCHEDULES[$('scheduler').value] ?? '');
}
