"""InstructSeg: the boxes joined. One forward for image and video, training and inference.

The verbs separate what depends on what, so that callers may keep results between frames and prompts:

=================  ==========================  =============================================
verb               depends on                  gives
=================  ==========================  =============================================
``encode_frame``   the frame                   SigLIP tokens, mask features, pyramid
``perceive``       a frame and the text        OVP tokens of a reference frame
``reason``         key frame, text, OVP tokens  hidden states of the language model
``decode``         all                         masks and scores
=================  ==========================  =============================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import initialization as init

from instructseg.model import fusion
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.language import KINDS, Placement, Sampling, merge_lora
from instructseg.model.mask_decoder import MaskDecoder
from instructseg.model.ovp import ObjectAwareVideoPerceiver
from instructseg.model.parts import ModelParts, build_parts
from instructseg.model.stored import StoredModel
from instructseg.model.tokens import thin
from instructseg.model.vision_towers import SharedTower
from instructseg.structures import IGNORE_LABEL, ModelInputs, Role, SegOutput

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """Features of frames, independent of the instruction; either half may be missing.

    Attributes:
        tokens: ``float[F, P, D]`` projected SigLIP tokens (language side).
        visual: ``float[F, S, V]`` fine-grained tokens for VMTF; ``None`` when fusion is off.
        levels: three maps ``float[F, C, h, w]`` of stride 32, 16, 8.
        mask_features: ``float[F, mask_dim, H/4, W/4]``.
    """

    tokens: torch.Tensor | None = None
    visual: torch.Tensor | None = None
    levels: tuple[torch.Tensor, ...] = ()
    mask_features: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class LanguageStates:
    """Hidden states of the language model for a batch.

    Attributes:
        hidden: ``float[B, L, D]`` last hidden states; see :meth:`InstructSeg.reason`.
        mask_tokens: ``float[B, Q, D]``, those at the object queries.
        text: ``float[B, T, D]``, those of the instruction, padded.
        text_mask: ``bool[B, T]``, false on padding.
    """

    hidden: torch.Tensor
    mask_tokens: torch.Tensor
    text: torch.Tensor
    text_mask: torch.Tensor


class InstructSeg(StoredModel):
    """Instructed segmentation of images and video (arXiv 2412.14006)."""

    config: InstructSegConfig
    config_class = InstructSegConfig
    base_model_prefix = ""
    main_input_name = "inputs"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = [  # noqa: RUF012
        *sorted({kind.block_class for kind in KINDS.values()}),
        "SiglipEncoderLayer",
        "SwinStage",
        "PixelDecoder",
        "MaskDecoder",
    ]
    # reference points of the deformable attention lose half a pixel in bf16
    _keep_in_fp32_modules_strict = ["pixel_decoder"]  # noqa: RUF012

    def __init__(self, config: InstructSegConfig, parts: ModelParts | None = None) -> None:
        """Takes ``parts`` that fit ``config``; ``None`` builds them with random weights."""
        super().__init__(config)
        parts = parts or build_parts(config)
        self.vision, self.projector, self.language = parts.vision, parts.projector, parts.language
        self.mask_queries = nn.Parameter(torch.zeros(config.num_queries, config.text_config.hidden_size))
        self.ovp, self.backbone, self.vmtf = parts.ovp, parts.backbone, parts.vmtf
        self.pixel_decoder, self.mask_decoder = parts.pixel_decoder, parts.mask_decoder
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight)
        elif isinstance(module, ObjectAwareVideoPerceiver):
            init.normal_(module.queries)
        elif isinstance(module, MaskDecoder) and module.query_content is not None:
            init.zeros_(module.query_proj.weight)  # starts as a proposal generator without the LLM
        elif module is self:
            init.normal_(self.mask_queries, std=0.02)
            self.backbone.init_positions()
        else:
            super()._init_weights(module)

    # ------------------------------------------------------------------ verbs

    def encode_frame(
        self, clip_pixels: torch.Tensor | None = None, seg_pixels: torch.Tensor | None = None
    ) -> FrameFeatures:
        """Encodes frames, independently of the instruction.

        Args:
            clip_pixels: ``float[F, 3, S, S]`` for the language side; ``None`` skips it.
            seg_pixels: ``float[F, 3, H, W]`` for the mask branch; ``None`` skips it.
        """
        features = FrameFeatures()
        if clip_pixels is not None:
            shared = (self.backbone,) if isinstance(self.vision, SharedTower) else ()
            features = replace(features, tokens=self.projector(self.vision(clip_pixels, *shared)))
        if seg_pixels is not None:
            if seg_pixels.shape[-2] % 32 or seg_pixels.shape[-1] % 32:
                raise ValueError(f"mask-branch pixels {tuple(seg_pixels.shape)}: sides must be multiples of 32")
            maps = self.backbone(seg_pixels)
            levels, mask_features = self.pixel_decoder(maps)
            features = replace(
                features, visual=self.vmtf.encode_visual(maps), levels=levels, mask_features=mask_features
            )
        return features

    def embed_text(self, input_ids: torch.Tensor, roles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Input embeddings of the instructions, ``float[B, T, D]``, and ``bool[B, T]``, for OVP."""
        return fusion.take(self.language.word_table()(input_ids), roles, Role.REFER)

    def perceive(self, tokens: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor) -> torch.Tensor:
        """OVP on pairs of reference frame and instruction.

        Args:
            tokens: ``float[N, P, D]`` of :meth:`encode_frame`.
            text: ``float[N, T, D]`` and ``text_mask`` ``bool[N, T]`` of :meth:`embed_text`.

        Returns:
            ``float[N, K, D]``.
        """
        if self.ovp is None:
            raise ValueError("this model has no perceiver (use_ovp is false)")
        return self.ovp(tokens, text, text_mask)

    def embed(
        self, input_ids: torch.Tensor, roles: torch.Tensor, tokens: torch.Tensor, temporal: torch.Tensor | None
    ) -> torch.Tensor:
        """The language sequence with its placeholders filled, ``float[B, L, D]``.

        Args:
            input_ids, roles: ``int64[B, L]``.
            tokens: ``float[B', P, D]``, the key-frame tokens of the rows that show an image; or of all these
                rows in order, ``float[N, D]``.
            temporal: ``float[N, K, D]``, OVP tokens of all rows' references in order; or ``float[N, D]``.

        Raises:
            ValueError: a run of placeholders and its embeddings differ in length.
        """
        embeds = self.language.word_table()(input_ids)
        embeds = fusion.fill(embeds, roles, Role.IMAGE, tokens)
        embeds = fusion.fill(embeds, roles, Role.TEMPORAL, tokens[:0] if temporal is None else temporal)
        with_masks = (roles == Role.MASK).any(1).sum()
        return fusion.fill(embeds, roles, Role.MASK, self.mask_queries.expand(int(with_masks), -1, -1))

    def reason(
        self,
        embeds: torch.Tensor,
        roles: torch.Tensor,
        placement: Placement | None = None,
        whole: bool = False,
    ) -> LanguageStates:
        """One pass of the language model; no token is generated.

        Args:
            embeds: ``float[B, L, D]``.
            roles: ``int64[B, L]``.
            placement: of sequences with tokens left out (:mod:`instructseg.model.tokens`); ``None`` for whole
                ones.
            whole: whether ``hidden`` is computed everywhere; without gradients, it is computed at mask tokens
                and instruction alone otherwise.
        """
        read = None if whole else (roles == Role.MASK) | (roles == Role.REFER)
        hidden = self.language.hidden_states(embeds, roles != Role.PAD, read, placement)
        mask_tokens, _ = fusion.take(hidden, roles, Role.MASK)
        text, text_mask = fusion.take(hidden, roles, Role.REFER)
        return LanguageStates(hidden, mask_tokens, text, text_mask)

    def decode(
        self,
        features: FrameFeatures,
        states: LanguageStates,
        image_index: torch.Tensor | None = None,
        aux: bool = False,
    ) -> SegOutput:
        """Masks and scores of every row.

        Args:
            features: mask branch of F images.
            states: B rows.
            image_index: ``int64[B]``, the image of each row; ``None`` when ``B == F``.
            aux: whether earlier layers' predictions are returned (deep supervision).
        """
        assert features.mask_features is not None
        visual = features.visual
        if visual is not None and image_index is not None:
            visual = visual[image_index]
        classifier = self.vmtf(states.text, states.text_mask, visual)
        *earlier, (masks, scores) = self.mask_decoder(
            states.mask_tokens, classifier, features.levels, features.mask_features, image_index, aux
        )
        return SegOutput(masks, scores, aux=tuple(earlier))

    # ---------------------------------------------------------------- forward

    def forward(self, inputs: ModelInputs, aux: bool = False) -> SegOutput:
        """The whole model on a batch; rows may be of different tasks, with and without masks.

        Args:
            inputs: the batch.
            aux: whether earlier decoder layers' predictions are returned.

        Returns:
            masks of the rows that ask for one (``mask_rows``), text logits where ``labels`` are given.
        """
        roles, image_index = inputs.roles, self._image_index(inputs)
        embeds, labels, placement = self._embed_inputs(inputs, image_index), inputs.labels, None
        if inputs.keep_tokens < 1:
            embeds, roles, labels, placement = thin(embeds, roles, labels, image_index, inputs.keep_tokens)
        states = self.reason(embeds, roles, placement, whole=True)
        text_logits = None
        if labels is not None:
            learned = labels[:, 1:] != IGNORE_LABEL
            text_logits = self.language.logits(states.hidden[:, :-1][learned])
        with_mask = (roles == Role.MASK).any(1)
        rows = with_mask.nonzero().flatten()
        if not len(rows):
            return SegOutput(None, None, text_logits=text_logits, mask_rows=rows)
        if inputs.seg_pixels is None:
            raise ValueError("rows ask for a mask but seg_pixels is None")
        states = LanguageStates(
            states.hidden[rows], states.mask_tokens[rows], states.text[rows], states.text_mask[rows]
        )
        shown, image_index = torch.unique(image_index[rows], return_inverse=True)
        features = self.encode_frame(seg_pixels=inputs.seg_pixels[shown])
        output = self.decode(features, states, image_index, aux)
        return replace(output, text_logits=text_logits, mask_rows=None if bool(with_mask.all()) else rows)

    @torch.inference_mode()
    def answer(
        self,
        inputs: ModelInputs,
        max_new_tokens: int = 64,
        stop: Sequence[int] = (),
        tokens: torch.Tensor | None = None,
        **sampling: Unpack[Sampling],
    ) -> list[list[int]]:
        """Generates text after each row's prompt, greedily without ``sampling``.

        Args:
            inputs: prompts without an answer (see ``processing.conversation``).
            max_new_tokens: limit per row.
            stop: token ids that end the text; the configuration's end of text is always one of them.
            tokens: ``float[N, P, D]`` of all frames used, if they are encoded already; of
                ``clip_pixels`` only the first two axes count then.
            sampling: passed on to ``generate`` of transformers.

        Returns:
            token ids of each row, the stop token left out.
        """
        embeds = self._embed_inputs(inputs, self._image_index(inputs), tokens)
        ends = (self.config.text_config.eos_token_id, *stop)
        return [
            self.language.continue_text(row[real][None], max_new_tokens, ends, **sampling)
            for row, real in zip(embeds, inputs.attention_mask, strict=True)
        ]

    def _image_index(self, inputs: ModelInputs) -> torch.Tensor:
        """The image of each row, ``int64[B]``."""
        if inputs.image_index is not None:
            return inputs.image_index
        if len(inputs.input_ids) != len(inputs.clip_pixels):
            rows, images = len(inputs.input_ids), len(inputs.clip_pixels)
            raise ValueError(f"{rows} rows but {images} images: set image_index, the image of each row")
        return torch.arange(len(inputs.input_ids), device=inputs.input_ids.device)

    def _embed_inputs(
        self, inputs: ModelInputs, image_index: torch.Tensor, tokens: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encodes each frame once, perceives each pair of reference and instruction, fills the sequence."""
        roles = inputs.roles
        frames = torch.arange(inputs.clip_pixels.shape[1], device=roles.device)
        used = frames <= inputs.num_references[:, None]  # (F, 1+R): the key frame and its real references
        if tokens is None:
            tokens = self.encode_frame(inputs.clip_pixels[used]).tokens
        assert tokens is not None
        index = used.flatten().cumsum(0).view(used.shape) - 1  # place of each frame among the encoded ones
        shows_image = (roles == Role.IMAGE).any(1)
        key_tokens = tokens[index[image_index[shows_image], 0]]
        temporal = None
        if bool((roles == Role.TEMPORAL).any()):
            row, frame = self._reference_pairs(inputs, image_index)
            text, text_mask = self.embed_text(inputs.input_ids, roles)
            temporal = self.perceive(tokens[index[image_index[row], frame]], text[row], text_mask[row])
        return self.embed(inputs.input_ids, roles, key_tokens, temporal)

    @staticmethod
    def _reference_pairs(inputs: ModelInputs, image_index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and the frames (0 the key frame) they perceive, as two flat ``int64[N]``, rows in order."""
        count = inputs.num_references[image_index][:, None]  # (B, 1)
        frames = torch.arange(inputs.clip_pixels.shape[1], device=count.device)
        perceived = torch.where(count == 0, frames == 0, (frames >= 1) & (frames <= count))
        perceived &= (inputs.roles == Role.TEMPORAL).any(1, keepdim=True)
        row, frame = perceived.nonzero(as_tuple=True)
        return row, frame

    # ---------------------------------------------------------------- adapters

    def merge_lora(self) -> InstructSeg:
        """Merges LoRA adapters into the language model, in place; returns the model."""
        if self.config.lora:
            merge_lora(self.language)
            self.config.lora = None
        return self
