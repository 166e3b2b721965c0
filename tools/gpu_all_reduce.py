#!/usr/bin/env python3
"""One rank of an all-reduce by torch.distributed; tools/gpu_all_reduce starts
several of them on one GPU.

Reads RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and HAWSER_GPU from the
environment. Every element of every result is checked. Exits 0 if all are right.
"""

import argparse
import os
import sys
import time

# A host of its own for each rank, as far as NCCL can tell: so that it neither
# refuses two ranks on one GPU nor finds a way around the network. It has to be
# set before NCCL looks.
os.environ["NCCL_HOSTID"] = "hawser-rank-" + os.environ["RANK"]

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402


def parse_bytes(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    unit = units.get(text[-1:].upper())
    return int(text[:-1]) * unit if unit else int(text)


def all_reduce_and_check(count, dtype, rank, ranks):
    """Returns the number of wrong elements. Small integers sum up exactly in
    every type and every order."""
    index = torch.arange(count, device="cuda")
    values = ((index + rank * 3) % 8).to(dtype)
    wanted = sum((index + r * 3) % 8 for r in range(ranks)).to(dtype)
    dist.all_reduce(values)
    return int((values != wanted).sum().item())


def seconds_each(count, repeats):
    values = torch.zeros(count, dtype=torch.float32, device="cuda")
    dist.all_reduce(values)
    torch.cuda.synchronize()
    began = time.monotonic()
    for _ in range(repeats):
        dist.all_reduce(values)
    torch.cuda.synchronize()
    return (time.monotonic() - began) / repeats


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="4,4K,1M,64M")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    sizes = [parse_bytes(size) for size in options.sizes.split(",")]

    torch.cuda.set_device(int(os.environ.get("HAWSER_GPU", "0")))
    dist.init_process_group("nccl")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    if rank == 0:
        version = ".".join(str(part) for part in torch.cuda.nccl.version())
        print(f"{ranks} ranks on one {torch.cuda.get_device_name()}, "
              f"torch {torch.__version__}, NCCL {version}")
        print(f"{'bytes':>12} {'time us':>12} {'algbw GB/s':>12} "
              f"{'busbw GB/s':>12} {'#wrong':>8}")

    total_wrong = 0
    for size in sizes:
        wrong = 0
        for dtype in (torch.float32, torch.int32, torch.bfloat16):
            count = max(1, size // dtype.itemsize)
            wrong += all_reduce_and_check(count, dtype, rank, ranks)
        # What any rank found wrong, all report.
        sum_of_wrong = torch.tensor([wrong], device="cuda")
        dist.all_reduce(sum_of_wrong)
        wrong = int(sum_of_wrong.item())
        total_wrong += wrong
        seconds = seconds_each(max(1, size // 4), options.repeats)
        if rank == 0:
            algbw = size / seconds / 1e9
            busbw = algbw * 2 * (ranks - 1) / ranks
            print(f"{size:>12} {seconds * 1e6:>12.1f} {algbw:>12.3f} "
                  f"{busbw:>12.3f} {wrong:>8}", flush=True)
    dist.destroy_process_group()
    return 1 if total_wrong else 0


sys.exit(main())
