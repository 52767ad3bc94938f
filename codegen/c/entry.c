static int exported_check(const void *const *in, void *const *out, const void *work,
    const exported_options *options)
{
    const void *const *const written = (const void *const *)out;
    const void *const area[1] = {work};
    if (options != NULL
        && (options->size < (int64_t)sizeof(exported_options) || options->threads < 0)) return 4;
    const size_t work_bytes = exported_work_bytes(options);
    const size_t area_bytes[1] = {work_bytes}, area_align[1] = {64};
    if ((in == NULL && exported_inputs > 0) || (out == NULL && exported_outputs > 0)) return 2;
    if (gradc_unusable(area, area_bytes, area_align, 1) > 0
        || gradc_unusable(in, exported_in_bytes, exported_in_align, exported_inputs) > 0
        || gradc_unusable(written, exported_out_bytes, exported_out_align, exported_outputs) > 0)
        return 2;
    int64_t overlaps = gradc_overlaps(work, work_bytes, in, exported_in_bytes, exported_inputs);
    overlaps += gradc_overlaps(work, work_bytes, written, exported_out_bytes, exported_outputs);
    for (int64_t o = 0; o < exported_outputs; o++) {
        overlaps += gradc_overlaps(out[o], exported_out_bytes[o], in, exported_in_bytes,
            exported_inputs);
        overlaps += gradc_overlaps(out[o], exported_out_bytes[o], written + o + 1,
            exported_out_bytes + o + 1, exported_outputs - o - 1);
    }
    for (int64_t a = 0; a < exported_aliases; a++) {
        const int64_t o = exported_alias[a][0], i = exported_alias[a][1];
        overlaps -= (out[o] == in[i]) & (exported_out_bytes[o] > 0);
    }
    return overlaps != 0 ? 3 : 0;
}

int exported(const void *const *in, void *const *out, void *work, const exported_options *options)
{
    const int status = exported_check(in, out, work, options);
    if (status != 0) return status;
    gradc_record *const record = (gradc_record *)work;
    const gradc_record clear = {-1, 0, 0, 0, 0, 0, {0, 0}};
    *record = clear;
    exported_run(in, out, (unsigned char *)work, options);
    return record->kind != 0;
}

int64_t exported_abi_version(void)
{
    return ABI_VERSION;
}

int64_t exported_n_in(void)
{
    return exported_inputs;
}

int64_t exported_n_out(void)
{
    return exported_outputs;
}

static const exported_port *exported_in_port(int64_t i)
{
    return i >= 0 && i < exported_inputs ? &exported_in_ports[i] : NULL;
}

static const exported_port *exported_out_port(int64_t i)
{
    return i >= 0 && i < exported_outputs ? &exported_out_ports[i] : NULL;
}

const char *exported_name_in(int64_t i)
{
    const exported_port *const port = exported_in_port(i);
    return port == NULL ? NULL : port->name;
}

const char *exported_name_out(int64_t i)
{
    const exported_port *const port = exported_out_port(i);
    return port == NULL ? NULL : port->name;
}

const char *exported_dtype_in(int64_t i)
{
    const exported_port *const port = exported_in_port(i);
    return port == NULL ? NULL : port->dtype;
}

const char *exported_dtype_out(int64_t i)
{
    const exported_port *const port = exported_out_port(i);
    return port == NULL ? NULL : port->dtype;
}

int64_t exported_ndim_in(int64_t i)
{
    const exported_port *const port = exported_in_port(i);
    return port == NULL ? -1 : port->ndim;
}

int64_t exported_ndim_out(int64_t i)
{
    const exported_port *const port = exported_out_port(i);
    return port == NULL ? -1 : port->ndim;
}

const int64_t *exported_shape_in(int64_t i)
{
    const exported_port *const port = exported_in_port(i);
    return port == NULL ? NULL : exported_shapes + port->shape;
}

const int64_t *exported_shape_out(int64_t i)
{
    const exported_port *const port = exported_out_port(i);
    return port == NULL ? NULL : exported_shapes + port->shape;
}

const char *exported_strerror(int status)
{
    switch (status) {
    case 0: return "ok";
    case 1: return "a check failed; see the record at the start of the work area";
    case 2: return "an argument is NULL or misaligned";
    case 3: return "arrays overlap that may not";
    case 4: return "the options are not understood";
    default: return "unknown status";
    }
}
