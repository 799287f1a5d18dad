"""What a server that stands in for OpenAI's images API has to do, case by case, and the tests that
show it. With CONFORMANCE=1 a run of tests/api and tests/clients writes docs/conformance-openai.md:

    CONFORMANCE=1 tests/run.sh build api clients
"""
G, E, S, M, H = ("test_openai_generations.py", "test_openai_edits.py", "test_openai_stream.py",
                 "test_openai_models.py", "test_http.py")
P, N, C = "test_openai_python.py", "test_openai_node.py", "test_openai_courses.py"
R = "test_openai_shapes.py"

# (what, the tests that show it)
CASES = [
    ("Generations, accepted", None),
    ("the smallest request: `created`, one picture of the model's own size, `usage` that adds up",
     f"{G}::test_smallest_request {G}::test_native_size_is_the_default"),
    ("no `model`", f"{G}::test_smallest_request"),
    ("`n` and `seed`: different pictures, the same bytes when repeated", f"{G}::test_n_and_seed"),
    ("`null` wherever it may stand", f"{G}::test_null_is_absent"),
    ("`size`: auto and every size that a client sends", f"{G}::test_sizes"),
    ("JPEG, and what `output_compression` does", f"{G}::test_jpeg_compression"),
    ("WebP", f"{G}::test_webp"),
    ("`response_format`; links are pictures, unknown ones 404",
     f"{G}::test_links {G}::test_unknown_links"),
    ("a request as for DALL-E 3", f"{G}::test_requests_of_all_ages {G}::test_openais_own_models"),
    ("as for gpt-image-1.5", f"{G}::test_requests_of_all_ages {G}::test_openais_own_models"),
    ("as for gpt-image-2.6", f"{G}::test_requests_of_all_ages {G}::test_openais_own_models"),
    ("unknown fields change nothing, and are named", f"{G}::test_what_is_ignored_is_named"),
    ("prompts in UTF-8, escapes, quotes, line ends", f"{G}::test_prompts"),
    ("32,000 characters; words up to 16,200 of CLIP's tokens, which are 4,000 characters of any script",
     f"{G}::test_prompts {G}::test_dall_es_4000_characters_in_any_script "
     f"{G}::test_prompt_of_too_many_words"),
    ("`Content-Type` with a charset, or missing", f"{G}::test_content_type_may_be_missing"),
    ("`bearer`, a slash at the end, chunks, `Expect: 100-continue`",
     f"{G}::test_any_key_without_keys {G}::test_other_spellings_of_the_path "
     f"{G}::test_chunked_body {H}::test_expect_continue"),
    ("Generations, refused", None),
    ("no prompt", f"{G}::test_missing_prompt"),
    ("an empty one", f"{G}::test_missing_prompt"),
    ("one that is no text", f"{G}::test_wrong_fields"),
    ("what is no JSON, or no object", f"{G}::test_not_json {G}::test_not_an_object"),
    ("`n` out of range or no number", f"{G}::test_wrong_fields"),
    ("17 wrong sizes", f"{G}::test_wrong_sizes"),
    ("words that a field does not have", f"{G}::test_wrong_fields"),
    ("numbers out of range", f"{G}::test_wrong_fields"),
    ("transparent backgrounds", f"{G}::test_wrong_fields"),
    ("a prompt of 32,001 characters", f"{G}::test_wrong_fields"),
    ("an unknown model: 404", f"{G}::test_unknown_model"),
    ("no key, a wrong key: 401; any key where there are none",
     f"{P}::test_keys {H}::test_openai_without_key {G}::test_any_key_without_keys"),
    ("wrong methods, paths, content types; bodies that are too large",
     f"{M}::test_wrong_methods {M}::test_unknown_paths {G}::test_content_types {H}::test_too_large"),
    ("a full queue: 429 with `Retry-After`", f"{G}::test_full_queue"),
    ("Edits, accepted", None),
    ("a form with one image; the size is the image's", f"{E}::test_names_of_the_image "
                                                       f"{E}::test_auto_size"),
    ("`image[]` twice", f"{E}::test_names_of_the_image {E}::test_several_pictures_are_blended"),
    ("`image` twice", f"{E}::test_names_of_the_image"),
    ("`image[]` once", f"{E}::test_names_of_the_image"),
    ("`image[0]`, `image[1]`", f"{E}::test_names_of_the_image"),
    ("masks by every name; without one, a transparent image is its own",
     f"{E}::test_mask {E}::test_names_of_the_mask {E}::test_a_transparent_picture_is_its_own_mask"),
    ("files without a type, with any name", f"{E}::test_the_type_is_in_the_bytes {E}::test_formats"),
    ("forms in chunks, cut anywhere", f"{E}::test_streamed_upload"),
    ("parts in any order, numbers as text", f"{E}::test_order_of_parts {E}::test_text_fields"),
    ("JSON in the shapes of gateways, `file_id` too",
     f"{E}::test_json test_openai_files.py::test_they_are_edited"),
    ("Edits, refused", None),
    ("no image, no prompt", f"{E}::test_missing_parts"),
    ("an image that is text, broken, no picture, a bomb",
     f"{E}::test_image_as_text {E}::test_broken_pictures {E}::test_no_pictures"),
    ("17 images; masks of another size, without alpha, two",
     f"{E}::test_too_many_images {E}::test_wrong_masks"),
    ("broken forms", f"{E}::test_broken_forms"),
    ("numbers that are none", f"{E}::test_wrong_text_fields {E}::test_empty_number"),
    ("JSON with wrong pictures", f"{E}::test_wrong_json {E}::test_wrong_pictures_in_json"),
    ("clients that leave: no job goes on", f"{E}::test_upload_that_breaks_off "
                                           f"{S}::test_client_that_leaves_while_painting "
                                           f"{S}::test_client_that_leaves_the_queue"),
    ("Variations, models, the rest", None),
    ("variations", f"{E}::test_variations"),
    ("the list of models", f"{M}::test_list"),
    ("one model, slashes in its name as `%2F` or as they are", f"{M}::test_one {M}::test_unknown"),
    ("models are not deleted over HTTP", f"{M}::test_delete"),
    ("a browser's preflight", f"{H}::test_cors"),
    ("`HEAD`, `/health`", f"{M}::test_head {H}::test_head_and_options"),
    ("Streams", None),
    ("one `completed`; the connection can be used again",
     f"{S}::test_completed {S}::test_connection_can_be_used_again"),
    ("partial images", f"{S}::test_partial_images {S}::test_no_partial_images"),
    ("edits; a `completed` for each picture", f"{E}::test_stream {S}::test_several"),
    ("errors before the stream are plain, later ones are an `error` event",
     f"{S}::test_errors_before_the_stream_are_plain {S}::test_cancelled_by_others"),
    ("long jobs: comments while they last, cancelled when the client leaves",
     f"{H}::test_waiting_outlives_the_timeout {S}::test_client_that_leaves_while_painting"),
    ("Real clients", None),
    ("OpenAI's SDK for Node 7.57.0 and 6.49.0", f"{N}::test_sdk"),
    ("what the SDKs try again", f"{P}::test_what_is_tried_again"),
    ("its SDK for Python 3.57.0 and 1.109.1: forms as httpx sends them",
     f"{P}::test_edit test_openai_python_old.py::test_version_1"),
    ("requests as Open WebUI sends them, and SillyTavern, LibreChat, Dify, n8n",
     f"{G}::test_requests_of_all_ages {E}::test_names_of_the_image {R}::test_open_webui "
     f"{R}::test_open_webui_edits {R}::test_sillytavern {R}::test_librechat_edits {R}::test_dify "
     f"{R}::test_n8n"),
]


def tests():
    """Of all cases: file::function."""
    return {test for _, names in CASES if names for test in names.split()}


def table(outcomes):
    """The page, from {file::function: {"passed", "failed", ...}}."""
    rows, number = [], 0
    for what, names in CASES:
        if not names:
            rows += ["", f"## {what}", "", "| | case | | shown by |", "|---|---|---|---|"]
            continue
        number += 1
        seen = [outcomes.get(name, set()) for name in names.split()]
        state = ("passes" if all(s == {"passed"} for s in seen) else
                 "not run" if not all(seen) else "**fails**")
        shown = ", ".join(f"`{name.split('::')[1]}`" for name in names.split())
        rows.append(f"| {number} | {what} | {state} | {shown} |")
    return "\n".join([
        "# The OpenAI API, case by case", "",
        "Made by a run of the tests (`tests/conformance_openai.py`); what a case means in detail is in the",
        "tests that it names, in `tests/api` and `tests/clients`. [openai.md](openai.md) describes the API."]
        + rows) + "\n"
