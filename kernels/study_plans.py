"""What is pushed for the points of a study, and for the upscalers that they are enlarged by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernels.attachments import Attachment
from kernels.metadata import KernelPlan
from kernels.planning import KernelRequest, plan_training
from kernels.upscalers import UpscalerOptions
from pipeline.runs.folder import RunFolder
from pipeline.study.executor import LocalExecutor
from pipeline.study.plan import Point
from pipeline.study.upscalers import upscaler_config
from submission.kernel.settings import SHARED
from submission.rules import MINIMUM_IMAGES


@dataclass(frozen=True)
class StudyKernels:
    """The kernels of a study, all of one account."""

    owner: str
    local: LocalExecutor
    """Where run folders lie, and which folder of photos is taken."""
    source: str
    """Of the images on Kaggle: `competition`, or dataset:OWNER/SLUG."""
    domain: str | None

    def plan_of(
        self, point: Point, upscaler: RunFolder | None, earlier: RunFolder | None
    ) -> tuple[KernelPlan, tuple[Attachment, ...]]:
        """Return what to push for a point, and what to upload first.

        Args:
            point: one of the study's.
            upscaler: the trained one that enlarges its images; None: a filter does.
            earlier: the run that it continues, if it continues one.
        """
        plan, path = self.local.plan, self.local.run_folder(point).path
        trained = None if upscaler is None else upscaler.best_or_last
        request = replace(
            self._request,
            count=max(plan.evaluation.count, MINIMUM_IMAGES),
            photo_domain=self.local.photo_domain,
            continue_from=None if earlier is None else earlier.path,
            upscalers=UpscalerOptions(trained=trained),
        )
        kernel = plan_training(self.owner, path, plan.config(point), request)
        return kernel, request.upscalers.attachments(kernel, request.continue_from)

    def upscaler_plan(self, factor: int) -> KernelPlan:
        """Return what to push for the upscaler that enlarges by a factor."""
        config = upscaler_config(self.local.plan, factor)
        path = self.local.upscaler_run(factor).path
        return plan_training(self.owner, path, config, self._request)

    @property
    def _request(self) -> KernelRequest:
        # A point is one seed: of several in a kernel another one might be kept.
        return KernelRequest(source=self.source, domain=self.domain, gpus=SHARED)
