/* preset_test.c: names that people have on their disks, and what follows from them. */
#include "engine/family/preset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/pictor.h"

static void test_names(void **state)
{
    static const struct {
        const char *name;
        int steps; /* 0: no preset */
        float guidance;
        const char *sampler;
    } cases[] = {
        {"sd_turbo.safetensors", 4, 1, "Euler a"},
        {"sd_xl_turbo_1.0_fp16.safetensors", 4, 1, "Euler a"},
        {"sdxl_lightning_8step.safetensors", 8, 1, "Euler"},
        {"sdxl_lightning_4step.safetensors", 4, 1, "Euler"},
        {"juggernautXL_v9Rdphoto2Lightning.safetensors", 6, 2, "Euler"},
        {"DreamShaper8_LCM.safetensors", 6, 1.5f, "LCM"},
        {"lcm.safetensors", 6, 1.5f, "LCM"},
        {"Hyper-SDXL-1step-Unet.safetensors", 1, 1, "Euler"},
        {"RealVis Hyper 12 steps.safetensors", 12, 1, "Euler"},
        {"DreamShaperXL_Turbo_v2_1.safetensors", 7, 2, "DPM++ SDE"},
        {"hyperrealism_v3.safetensors", 0, 0, NULL},
        {"v1-5-pruned-emaonly.safetensors", 0, 0, NULL},
        {"calcmaker.safetensors", 0, 0, NULL},
        {"", 0, 0, NULL},
        {"step", 0, 0, NULL},
        {"lightning_99999999999step", 6, 2, "Euler"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct preset p = {0};
        bool found = preset_of_name(cases[i].name, &p);
        if (found != (cases[i].steps > 0) || p.steps != cases[i].steps ||
            p.guidance != cases[i].guidance || (found && strcmp(p.sampler, cases[i].sampler) != 0))
            fail_msg("%s: %d steps, guidance %g, %s", cases[i].name, p.steps, (double)p.guidance,
                     found ? p.sampler : "no preset");
        if (found) {
            assert_non_null(pictor_sampler_find(p.sampler, NULL));
            assert_non_null(pictor_scheduler_find(p.scheduler));
        }
    }
}

/* From a file's name to the model's facts and to parameters of pictures. */
static void test_probe(void **state)
{
    char folder[] = "/tmp/preset_test_XXXXXX", path[64], here[1024], target[1100];
    struct pictor_model_info info;
    struct err err;
    assert_non_null(mkdtemp(folder));
    assert_non_null(getcwd(here, sizeof here));
    snprintf(target, sizeof target, "%s/tests/golden/tiny/tiny-ldm.safetensors", here);
    snprintf(path, sizeof path, "%s/tiny_LCM.safetensors", folder);
    assert_int_equal(symlink(target, path), 0);
    assert_true(pictor_model_probe(path, &info, &err));
    assert_string_equal(info.default_sampler, "LCM");
    assert_int_equal(info.default_steps, 6);
    assert_true(info.default_guidance == 1.5f);
    assert_true(pictor_model_probe(target, &info, &err));
    assert_string_equal(info.default_sampler, "");
    assert_int_equal(info.default_steps, 20);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
