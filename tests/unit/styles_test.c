/* styles_test.c: files of prompt styles, and styles with prompts. */
#include "server/job/styles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = P_tmpdir "/styles_test.XXXXXX";

static bool read_file(const char *text, size_t size, struct styles *out, struct err *err)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    return styles_read(path, out, err);
}

static void assert_file(const char *want)
{
    char text[1000] = "";
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, want);
}

/* What is not touched keeps its bytes, whatever columns it has. */
static void changes(void **state)
{
    struct styles s;
    struct err err;
    unlink(path);
    assert_true(styles_put(path, &(struct style){"Oil", "oil, \"old\"", ""}, &err));
    assert_file("name,prompt,negative_prompt\nOil,\"oil, \"\"old\"\"\",\n");
    assert_true(styles_put(path, &(struct style){"B", "b\nc", "d"}, &err));
    assert_true(styles_put(path, &(struct style){"Oil", "x", "y"}, &err));
    assert_file("name,prompt,negative_prompt\nOil,x,y\nB,\"b\nc\",d\n");
    assert_true(styles_remove(path, "Oil", &err));
    assert_false(styles_remove(path, "Oil", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_file("name,prompt,negative_prompt\nB,\"b\nc\",d\n");

    static const char other[] = "\xef\xbb\xbf" "extra,negative_prompt,name,prompt\r\n"
                                "1,n,\"A\",p\r\n2,n,A,twice\r\n3,,C,c";
    assert_true(read_file(other, sizeof other - 1, &s, &err));
    styles_free(&s);
    assert_true(styles_put(path, &(struct style){"D", "d", "e,f"}, &err));
    assert_file("\xef\xbb\xbf" "extra,negative_prompt,name,prompt\r\n"
                "1,n,\"A\",p\r\n2,n,A,twice\r\n3,,C,c\n,\"e,f\",D,d\n");
    assert_true(read_file(other, sizeof other - 1, &s, &err));
    styles_free(&s);
    assert_true(styles_remove(path, "A", &err));
    assert_file("\xef\xbb\xbf" "extra,negative_prompt,name,prompt\r\n3,,C,c");
    assert_false(styles_put(path, &(struct style){"", "d", ""}, &err));
    assert_false(styles_put(path, &(struct style){"a\nb", "d", ""}, &err));
    assert_true(read_file("a,b\n", 4, &s, &err) || err.code == ERR_INVALID);
    assert_false(styles_put(path, &(struct style){"x", "d", ""}, &err));
    assert_file("a,b\n");
    unlink(path);
    assert_false(styles_put("/nonexistent/styles.csv", &(struct style){"x", "d", ""}, &err));
}

static void files(void **state)
{
    static const char text[] = "\xef\xbb\xbfname,prompt,negative_prompt\r\n"
                               "Oil,\"oil painting of {prompt}, \"\"old\"\"\",\"blurry,\n low\"\r\n"
                               ",no name,\r\n"
                               "Short,x\n"
                               "More,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r\n"
                               "Last,\"never closed";
    struct styles s;
    struct err err;
    assert_true(read_file(text, sizeof text - 1, &s, &err));
    assert_int_equal(s.count, 4);
    assert_string_equal(s.at[0].name, "Oil");
    assert_string_equal(s.at[0].prompt, "oil painting of {prompt}, \"old\"");
    assert_string_equal(s.at[0].negative, "blurry,\n low");
    assert_string_equal(s.at[1].prompt, "x");
    assert_string_equal(s.at[1].negative, "");
    assert_string_equal(styles_find(&s, "More")->negative, "b");
    assert_string_equal(styles_find(&s, "Last")->prompt, "never closed");
    assert_null(styles_find(&s, "oil"));
    styles_free(&s);

    assert_true(read_file("negative_prompt,name,prompt\nn,a,p\n", 34, &s, &err));
    assert_string_equal(s.at[0].prompt, "p");
    styles_free(&s);
    assert_false(read_file("", 0, &s, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_false(read_file("a,b\nc,d\n", 8, &s, &err));
    char *large = calloc(1, STYLES_BYTES + 1);
    assert_non_null(large);
    assert_false(read_file(large, STYLES_BYTES + 1, &s, &err));
    assert_non_null(strstr(err.msg, "wanted at most 1048576 bytes"));
    free(large);
    unlink(path);
    assert_true(styles_read(path, &s, &err)); /* there is no such file */
    assert_int_equal(s.count, 0);
}

static void merging(void **state)
{
    static const char *const cases[][3] = {
        {"oil painting of {prompt}, old", "a cat", "oil painting of a cat, old"},
        {"{prompt} and {prompt}", "x", "x and x"},
        {" best quality ", " a cat ", "a cat, best quality"},
        {"best quality", "", "best quality"},
        {"", "a cat ", "a cat "},
        {"{prompt}", "", ""},
    };
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = styles_merge(cases[i][0], cases[i][1], 100, &err);
        assert_string_equal(text, cases[i][2]);
        free(text);
    }
    assert_null(styles_merge("{prompt}{prompt}", "0123456789", 19, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(changes),
        cmocka_unit_test(merging),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
