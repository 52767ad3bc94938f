static void exported_run(const void *const *in, void *const *out, unsigned char *work,
    const exported_options *options)
{
    (void)options;
    IN_PLACE
    exported_part(in, out, work);
}

size_t exported_work_bytes(const exported_options *options)
{
    (void)options;
    return EXPORTED_WORK_BYTES;
}
