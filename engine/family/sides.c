#include "engine/family/sides.h"

bool sides_fit(int multiple, const struct pictor_params *asked, struct family_fitted *fitted)
{
    *fitted = (struct family_fitted){.params = *asked};
    struct pictor_params *p = &fitted->params;
    p->width -= p->width % multiple;
    p->height -= p->height % multiple;
    p->hires_width -= p->hires_width % multiple;
    p->hires_height -= p->hires_height % multiple;
    return p->width != asked->width || p->height != asked->height ||
           p->hires_width != asked->hires_width || p->hires_height != asked->hires_height;
}
