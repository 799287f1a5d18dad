#include "engine/family/merged.h"

void merged_free(struct merged *m)
{
    for (size_t i = 0; i < m->count; i++)
        lora_free(m->loras[i]);
    m->count = 0;
}

static bool open_all(struct merged *m, const struct checkpoint *cp, const struct pictor_lora *loras,
                     size_t count, struct err *err)
{
    if (count > PICTOR_LORAS_MAX)
        return err_set(err, ERR_INVALID, "%zu LoRAs: wanted at most %d", count, PICTOR_LORAS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct lora *l = lora_open(loras[i].fd, loras[i].name, cp, err);
        if (!l)
            return false;
        m->loras[i] = l;
        m->uses[i] = (struct lora_use){l, loras[i].unet, loras[i].text};
        m->count++;
    }
    return true;
}

bool merged_set(struct merged *m, struct weights *weights, struct device *dev,
                const struct checkpoint *cp, const struct pictor_lora *loras, size_t count,
                struct err *err)
{
    merged_free(m);
    bool ok = open_all(m, cp, loras, count, err);
    if (ok && !m->resting)
        ok = weights_merge(weights, dev, cp, m->uses, m->count, err);
    if (!ok) {
        merged_free(m);
        if (!m->resting)
            weights_merge(weights, dev, cp, NULL, 0, NULL);
    }
    return ok;
}

void merged_rest(struct merged *m, struct weights *weights)
{
    weights_rest(weights);
    m->resting = true;
}

bool merged_wake(struct merged *m, struct weights *weights, struct device *dev,
                 const struct checkpoint *cp, struct err *err)
{
    if (!weights_merge(weights, dev, cp, m->uses, m->count, err)) {
        weights_rest(weights);
        return false;
    }
    m->resting = false;
    return true;
}
