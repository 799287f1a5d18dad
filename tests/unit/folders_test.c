/* folders_test.c: which files of other programs' folders are found, and under which names. */
#include "server/job/folders.h"

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/settings.h"
#include "server/job/files.h"

struct rig {
    char root[64];
    struct settings *settings;
    struct folders *folders;
};

static void put(const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", name);
    for (char *p = path; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    struct err err = {0};
    struct rig *r = calloc(1, sizeof *r);
    strcpy(r->root, "/tmp/folders_test.XXXXXX");
    assert_non_null(mkdtemp(r->root));
    assert_int_equal(chdir(r->root), 0);
    r->settings = settings_new(&err);
    assert_true(settings_set(r->settings, "models", "own", "", &err));
    assert_true(settings_set(r->settings, "loras", "own-loras", "", &err));
    r->folders = folders_new(r->settings, &err);
    assert_non_null(r->folders);
    *state = r;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct rig *r = *state;
    folders_free(r->folders);
    settings_free(r->settings);
    assert_int_equal(nftw(r->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(r);
    return 0;
}

/* The names of a kind's files, each with its size, as one text: "a=1 b/c=2". */
static const char *names(struct rig *r, enum folders_kind kind)
{
    static char text[2048];
    struct registry_table table;
    struct err err = {0};
    struct files *f = files_new(r->folders, kind, NULL, &err);
    text[0] = '\0';
    assert_non_null(f);
    if (!files_list(f, &table, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < table.count; i++) {
        const struct registry_entry *e = &table.entries[i];
        struct stat st;
        if (e->same != i)
            continue;
        assert_int_equal(stat(e->model.path, &st), 0);
        assert_int_equal((uint64_t)st.st_size, e->model.size);
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s=%llu", n ? " " : "", e->model.name,
                 (unsigned long long)e->model.size);
    }
    registry_scan_free(&table);
    files_free(f);
    return text;
}

static void use(struct rig *r, const char *paths)
{
    struct err err = {0};
    assert_true(settings_set(r->settings, "model_paths", paths, "", &err));
}

static void an_a1111_folder(void **state)
{
    struct rig *r = *state;
    put("own-loras/style.safetensors", "1");
    put("webui/models/Lora/style.safetensors", "12");
    put("webui/models/Lora/anime/line.safetensors", "123");
    put("webui/models/Stable-diffusion/v1-5.safetensors", "1234");
    put("webui/models/Stable-diffusion/v1-5.ckpt", "12345");
    put("webui/models/Stable-diffusion/v1-5.vae.pt", "1");
    put("webui/models/Stable-diffusion/notes.txt", "1");
    put("webui/models/VAE/ft.CKPT", "1");
    put("webui/models/ESRGAN/4x.pth", "1");
    put("webui/models/RealESRGAN/x2.pth", "12");
    put("webui/models/ControlNet/canny.safetensors", "1");
    put("webui/embeddings/bad hands.pt", "1");
    put("webui/venv/lib/torch.pt", "1");
    put("webui/models/BLIP/blip.pth", "1");
    use(r, "webui");
    assert_string_equal(names(r, FOLDERS_LORA), "anime/line=3 style=1");
    assert_string_equal(names(r, FOLDERS_VAE), "ft=1");
    assert_string_equal(names(r, FOLDERS_UPSCALER), "4x=1 x2=2");
    assert_string_equal(names(r, FOLDERS_CONTROLNET), "canny=1");
    assert_string_equal(names(r, FOLDERS_EMBEDDING), "bad hands=1");
    assert_string_equal(names(r, FOLDERS_MODEL), "v1-5=4 v1-5.ckpt=5 v1-5.vae=1");
    /* The folder of models says the same by itself. */
    use(r, "webui/models");
    assert_string_equal(names(r, FOLDERS_MODEL), "v1-5=4 v1-5.ckpt=5 v1-5.vae=1");
    assert_string_equal(names(r, FOLDERS_EMBEDDING), "");
}

static void a_comfyui_folder_and_one_of_nobody(void **state)
{
    struct rig *r = *state;
    put("ComfyUI/models/checkpoints/xl.safetensors", "1");
    put("ComfyUI/models/diffusion_models/net.gguf", "12");
    put("ComfyUI/models/unet/old.safetensors", "123");
    put("ComfyUI/models/clip/clip_l.safetensors", "1");
    put("ComfyUI/models/text_encoders/t5.safetensors", "12");
    put("ComfyUI/models/upscale_models/4x.safetensors", "1");
    put("ComfyUI/models/loose.safetensors", "1234");
    put("ComfyUI/custom_nodes/x/model.safetensors", "1");
    put("mine/a.safetensors", "1");
    put("mine/b/c.safetensors", "12");
    use(r, "ComfyUI, mine, /nowhere");
    assert_string_equal(names(r, FOLDERS_MODEL), "a=1 b/c=2 loose=4 net=2 old=3 xl=1");
    assert_string_equal(names(r, FOLDERS_TEXT_ENCODER), "clip_l=1 t5=2");
    assert_string_equal(names(r, FOLDERS_UPSCALER), "4x=1");
}

static void extra_model_paths(void **state)
{
    struct rig *r = *state;
    put("comfy/extra_model_paths.yaml", "# where other programs keep theirs\n"
                                        "a111:\n"
                                        "    base_path: ../webui/   # beside it\n"
                                        "    is_default: true\n"
                                        "    checkpoints: models/Stable-diffusion\n"
                                        "    vae: 'models/VAE'\n"
                                        "    loras: |\n"
                                        "         models/Lora\n"
                                        "         models/LyCORIS\n"
                                        "    hypernetworks: models/hypernetworks\n"
                                        "\n"
                                        "other:\n"
                                        "    checkpoints: /nowhere/at/all\n");
    put("webui/models/Stable-diffusion/a.safetensors", "1");
    put("webui/models/VAE/v.safetensors", "1");
    put("webui/models/Lora/l.safetensors", "1");
    put("webui/models/LyCORIS/y.safetensors", "12");
    put("comfy/models/checkpoints/c.safetensors", "1");
    use(r, "comfy");
    assert_string_equal(names(r, FOLDERS_MODEL), "a=1 c=1");
    assert_string_equal(names(r, FOLDERS_VAE), "v=1");
    assert_string_equal(names(r, FOLDERS_LORA), "l=1 y=2");
    use(r, "comfy/extra_model_paths.yaml");
    assert_string_equal(names(r, FOLDERS_MODEL), "a=1");
    put("comfy/extra_model_paths.yaml", "a111:\n  what is this\n");
    assert_string_equal(names(r, FOLDERS_MODEL), "");
}

static void the_cache_of_huggingface(void **state)
{
    struct rig *r = *state;
    put("hf/hub/models--me--art/refs/main", "aaa");
    put("hf/hub/models--me--art/blobs/1234", "12345");
    put("hf/hub/models--me--art/snapshots/bbb/old.safetensors", "1");
    put("hf/hub/models--me--art/snapshots/aaa/sub/readme.txt", "1");
    assert_int_equal(symlink("../../../blobs/1234",
                             "hf/hub/models--me--art/snapshots/aaa/sub/art.safetensors"), 0);
    put("hf/hub/models--gpt/snapshots/x/model.safetensors", "1");
    put("hf/hub/datasets--me--art/snapshots/x/data.safetensors", "1");
    use(r, "hf");
    assert_string_equal(names(r, FOLDERS_MODEL), "gpt/model=1 me/art/sub/art=5");
    setenv("HF_HOME", "hf", 1);
    unsetenv("HF_HUB_CACHE");
    use(r, "huggingface");
    assert_string_equal(names(r, FOLDERS_MODEL), "gpt/model=1 me/art/sub/art=5");
    setenv("HF_HUB_CACHE", "nowhere", 1);
    assert_string_equal(names(r, FOLDERS_MODEL), "");
    unsetenv("HF_HOME");
    unsetenv("HF_HUB_CACHE");
}

static void files_are_found_by_name_and_stem(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    struct files_open opened;
    char path[PATH_MAX];
    put("ComfyUI/models/vae/sub/ft.pt", "123");
    use(r, "ComfyUI");
    struct files *f = files_new(r->folders, FOLDERS_VAE, NULL, &err);
    assert_true(files_open(f, "sub/ft", &opened, &err));
    assert_int_equal(opened.size, 3);
    close(opened.fd);
    assert_true(files_find(f, "ft", path, &err));
    assert_non_null(strstr(path, "/ComfyUI/models/vae/sub/ft.pt"));
    assert_false(files_find(f, "../ft", path, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_string_equal(err.msg, "there is no such VAE");
    files_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_a1111_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(a_comfyui_folder_and_one_of_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(extra_model_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(the_cache_of_huggingface, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_found_by_name_and_stem, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
