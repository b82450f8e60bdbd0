"""The query parameters of the routes, each like the option of the command line that has its name."""

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sonopsis.model import Request as Question
from sonopsis.serve.formats import Format

Share = Annotated[float, Field(gt=0, le=1)]


class TagQuery(BaseModel):
    """What is asked about a recording; a parameter of another name is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    top_k: int = Field(5, ge=1, le=1000, description="At most this many labels for each window.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Only labels with at least this score; without it, each label's own threshold."
    )
    window: float | None = Field(
        None, ge=0.1, description="Length of a window in seconds; without it, the model's own, which is the longest."
    )
    hop: float | None = Field(
        None,
        ge=0.01,
        description="Seconds from one window's start to the next; without it, none overlap.",
    )
    keep_rate: Share | None = Field(
        None, description="Share of the patches that each pruning block keeps; without it, the service's own."
    )
    name: str | None = Field(None, description="What results call a recording that is sent as the body itself.")

    def question(self) -> Question:
        """The same as the model reads it."""
        return Question(False, self.top_k, self.threshold, self.window, self.hop, keep_rate=self.keep_rate)


class CaptionQuery(TagQuery):
    """The same for captions."""

    beams: int = Field(1, ge=1, le=32, description="Beam width; 1 is the model's own decoding.")

    def question(self) -> Question:
        """The same as the model reads it."""
        return replace(super().question(), captions=True, beams=self.beams)


class EventQuery(TagQuery):
    """What is asked about each window of a stream of events."""

    captions: bool = Field(False, description="Whether each window gets a sentence too.")

    def question(self) -> Question:
        """The same as the model reads it."""
        return replace(super().question(), captions=self.captions)


class FormatQuery(BaseModel):
    """In which format the answer comes; a parameter of another name is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Format = Field("json", description="The format of the answer, as that of the command line.")


class TagFileQuery(TagQuery, FormatQuery):
    """A question about the whole recording."""


class CaptionFileQuery(CaptionQuery, FormatQuery):
    """A question about the whole recording."""
