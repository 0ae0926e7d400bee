from __future__ import annotations

from pathlib import Path

import torch
import torch.multiprocessing as mp

from instructseg import distributed


def test_alone():
    assert (distributed.world_size(), distributed.rank(), distributed.is_main()) == (1, 0, True)
    counts = torch.tensor([1, 2])
    total, mean = distributed.all_reduce_sum(counts), distributed.all_reduce_mean(counts)
    assert total.tolist() == [1, 2] and total.dtype == torch.int64
    assert mean.tolist() == [1.0, 2.0] and mean.is_floating_point()
    assert distributed.gathered("a") == ["a"]
    distributed.barrier()
    assert total is not counts and total.data_ptr() != counts.data_ptr()


def in_process(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    assert (distributed.world_size(), distributed.rank(), distributed.is_main()) == (2, rank, rank == 0)
    own = torch.tensor([1.0, 10.0]) * (rank + 1)
    kept = own.clone().requires_grad_()
    total, mean = distributed.all_reduce_sum(kept), distributed.all_reduce_mean(kept)
    assert total.tolist() == [3.0, 30.0] and mean.tolist() == [1.5, 15.0]
    assert torch.equal(kept, own) and not total.requires_grad
    assert distributed.all_reduce_mean(torch.tensor(rank)).item() == 0.5
    assert distributed.gathered({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes(tmp_path: Path):
    mp.start_processes(in_process, (str(tmp_path),), nprocs=2, start_method="fork")
