/* samplers.js: what each sampler and schedule is good for, in a line. */
import { $, setText } from '../dom.js';
import { t } from '../text.js';

const SAMPLERS = {
  'DPM++ 2M': t('clean_and_quick_a_good'),
  'DPM++ SDE': t('much_detail_in_few_steps'),
  'DPM++ 2M SDE': t('rich_detail_and_soft_light'),
  'DPM++ 2M SDE Heun': t('like_dpm_2m_sde_steadier'),
  'DPM++ 2S a': t('lively_each_step_takes_twice'),
  'DPM++ 3M SDE': t('the_finest_texture_of_these'),
  'Euler a': t('quick_and_free_soft_pictures'),
  Euler: t('the_plain_one_calm_pictures'),
  LMS: t('an_old_gentle_one_wants'),
  Heun: t('euler_looked_at_twice_truer'),
  DPM2: t('exact_and_slow_each_step'),
  'DPM2 a': t('dpm2_with_fresh_noise_lively'),
  'DPM fast': t('a_first_look_in_10'),
  'DPM adaptive': t('chooses_its_steps_itself_until'),
  Restart: t('goes_back_and_paints_again'),
  DDIM: t('steady_and_good_over'),
  'DDIM CFG++': t('ddim_for_low_guidance_1'),
  PLMS: t('ddim_with_a_memory_wants'),
  UniPC: t('good_pictures_in_as_few'),
  LCM: t('for_models_and_loras_made'),
  'Euler CFG++': t('euler_for_low_guidance_1'),
  'Euler a CFG++': t('euler_a_for_low_guidance'),
  DDPM: t('how_models_were_trained_wants'),
  DEIS: t('good_pictures_in_10'),
  IPNDM: t('a_memory_of_four_steps'),
};
const SCHEDULES = {
  automatic: t('what_the_sampler_likes_best'),
  uniform: t('even_steps_as_most_models'),
  karras: t('more_steps_at_the_end'),
  exponential: t('even_smoother_at_the_end'),
  polyexponential: t('exponential_with_a_bend'),
  sgm_uniform: t('even_steps_for_models'),
  simple: t('even_steps_without_refinement_suits'),
  normal: t('even_steps_in_the_models'),
  ddim: t('what_ddim_was_made'),
  beta: t('more_steps_at_both_ends'),
  kl_optimal: t('steps_that_lose_the_least'),
  align_your_steps: t('steps_found_by_search_for'),
};

/* Under their lists. */
export function show() {
  setText($('sampler-about'), SAMPLERS[$('sampler').value] ?? '');
  setText($('scheduler-about'), SCHEDULES[$('scheduler').value] ?? '');
}
