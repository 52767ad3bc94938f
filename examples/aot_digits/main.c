/* Trains the exported model. There is no Python in this process, and nothing is linked but libc:

       python export.py && make && out/train_digits out

   Reads out/data.bin (28 batches of 64 images f32[64], then their labels i64) and the state in
   out/train.safetensors, prints the loss of each epoch, and writes the trained state back. */

#include "train_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, BATCHES = 28, EPOCHS = 20, PIXELS = 64 };

static float images[BATCHES][BATCH][PIXELS];
static int64_t labels[BATCHES][BATCH];
static double state[TRAIN_STATE_BYTES / sizeof(double) + 1];
static unsigned char work[TRAIN_WORK_BYTES] __attribute__((aligned(64)));

static void die(const char *what)
{
    fprintf(stderr, "train_digits: %s\n", what);
    exit(1);
}

static FILE *open_in(const char *folder, const char *name, const char *mode)
{
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = length < (int)sizeof path ? fopen(path, mode) : NULL;
    if (file == NULL) die(name);
    return file;
}

static void read_data(const char *folder)
{
    FILE *file = open_in(folder, "data.bin", "rb");
    if (fread(images, sizeof images, 1, file) != 1) die("data.bin is too short");
    if (fread(labels, sizeof labels, 1, file) != 1) die("data.bin is too short");
    fclose(file);
}

/* The file and Python's view of it stay valid: only the block of numbers is exchanged. */
static void move_state(const char *folder, const char *mode)
{
    FILE *file = open_in(folder, "train.safetensors", mode);
    size_t moved;
    if (fseek(file, TRAIN_STATE_BEGIN, SEEK_SET) != 0) die("train.safetensors is too short");
    moved = strchr(mode, '+') ? fwrite(state, TRAIN_STATE_BYTES, 1, file)
                              : fread(state, TRAIN_STATE_BYTES, 1, file);
    if (moved != 1 || fclose(file) != 0) die("train.safetensors cannot be read or written");
}

/* As Python's float.hex(), for a normal number. */
static void print_loss(int epoch, double loss)
{
    uint64_t bits;
    memcpy(&bits, &loss, sizeof bits);
    printf("epoch %2d  loss %.6f  0x1.%013" PRIx64 "p%+d\n", epoch, loss,
           bits & 0xfffffffffffffu, (int)(bits >> 52 & 0x7ff) - 1023);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "out";
    const void *in[TRAIN_INPUTS];
    void *out[TRAIN_OUTPUTS];
    float loss = 0;

    read_data(folder);
    move_state(folder, "rb");
    train_bind(state, in, out);
    out[TRAIN_OUT_RESULT_0] = &loss;
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        for (int batch = 0; batch < BATCHES; batch++) {
            in[TRAIN_IN_X] = images[batch];
            in[TRAIN_IN_Y] = labels[batch];
            const int status = train(in, out, work, NULL);
            if (status != 0) die(train_strerror(status));
        }
        print_loss(epoch, loss);
    }
    move_state(folder, "rb+");
    return 0;
}
