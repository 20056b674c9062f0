"""What a repository is called in the corpus, and how its shards are told from those of other repositories.

Several repositories may stand side by side in one lake: every shard key begins with its repository's prefix, and no
prefix begins another one.
"""

from __future__ import annotations

import hashlib
import re

from pipeline.lake import Lake, ShardFile

_END = "."
_MOST_CHARS = 80


def repository_name(repo: str, name: str = "") -> str:
    """What stands for a repository in the corpus: `name`, or `repo` itself where that is a URL.

    Raises `ValueError` for a folder without a name: its path means nothing elsewhere.
    """
    if name:
        return name
    if "://" not in repo:
        raise ValueError(f"repo {repo!r} is a folder; give `name`, the URL or owner/name it is a clone of")
    return repo.removesuffix("/").removesuffix(".git")


def shard_prefix(name: str) -> str:
    """What the keys of a repository's shards begin with: a slug of its name, and a dot, which no slug has.

    `owner/name` gives `owner_name.`; a name with other characters than letters, digits, `-` and `/`, or a long one, has
    a part of its hash behind it, so that two names never share a prefix.
    """
    slug = "_".join(re.sub(r"[^A-Za-z0-9-]+", "-", part).strip("-") for part in name.split("://")[-1].split("/"))
    slug = slug.strip("_-")[:_MOST_CHARS]
    if slug != name.replace("/", "_"):
        slug = f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")
    return slug + _END


def own_shards(lake: Lake, stage: str, name: str | None) -> list[ShardFile]:
    """The committed shards of one repository, in key order; a null `name` is the only one there is.

    Raises `ValueError` where the name is null and the stage holds several repositories.
    """
    shards = lake.shards(stage)
    if name is not None:
        return [shard for shard in shards if shard.key.startswith(shard_prefix(name))]
    if len(there := sorted({shard.key.partition(_END)[0] for shard in shards})) > 1:
        raise ValueError(f"stage {stage} of {lake.root} holds several repositories ({', '.join(there)}); name one")
    return shards
