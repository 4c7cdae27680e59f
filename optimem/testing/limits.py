"""What providers reject: too many images, too large ones, too many bytes, a full window."""

from __future__ import annotations

from optimem.readers import Profile
from optimem.testing.billing import looked_at
from optimem.testing.exchange import Asked, Rejected, Usage

_PATCH = 32  # px


def check_body(size: int, profile: Profile) -> None:
    """Raise Rejected (413) for a request of more bytes than the provider takes."""
    most = profile.limits.get("request_bytes")
    if most is not None and size > most:
        raise Rejected(
            f"Request exceeds the maximum size: {size} bytes, at most {most}",
            413,
            "request_too_large" if profile.provider == "anthropic" else "",
        )


def check_images(asked: Asked, profile: Profile) -> None:
    """Raise Rejected (400) for images beyond the provider's limits."""
    limits, images = profile.limits, asked.images
    most = limits.get("images")
    if most is not None and len(images) > most:
        raise Rejected(f"Too many images: {len(images)}, at most {most} in a request")
    side = limits.get("side")
    if len(images) > limits.get("many_images", len(images)):
        side = min(limits["many_images_side"], side or limits["many_images_side"])
    for data in images:
        (width, height), media_type = looked_at(data)
        if media_type not in profile.image_formats:
            takes = ", ".join(profile.image_formats) or "text alone"
            raise Rejected(f"Unsupported image format {media_type}: this model takes {takes}")
        if side is not None and max(width, height) > side:
            raise Rejected(
                f"At least one of the image dimensions exceeds {side} pixels,"
                f" the most for a request with {len(images)} images: {width} x {height}"
            )
        patches = -(-width // _PATCH) * -(-height // _PATCH)
        if patches > limits.get("patches", patches):
            raise Rejected(f"Image has {patches} patches, at most {limits['patches']}")
        size = -(-len(data) // 3) * 4  # in base64
        if size > limits.get("image_bytes", size):
            raise Rejected(f"image exceeds {limits['image_bytes']} bytes maximum: {size} bytes")


def check_roles(asked: Asked, profile: Profile) -> None:
    """Raise Rejected (400) for images in messages of a role that may carry none."""
    for block in asked.blocks:
        if block.kind == "image" and block.role not in profile.image_roles:
            raise Rejected(f"Image URLs are not allowed for messages with role {block.role!r}")


def check_window(usage: Usage, profile: Profile) -> None:
    """Raise Rejected (400) for more tokens than the model's window, in the provider's words."""
    if profile.window is None or usage.input <= profile.window:
        return
    if profile.format == "anthropic":
        raise Rejected(f"prompt is too long: {usage.input} tokens > {profile.window} maximum")
    if profile.provider == "google":
        raise Rejected(
            f"The input token count ({usage.input}) exceeds the maximum number of tokens"
            f" allowed ({profile.window})."
        )
    raise Rejected(
        f"This model's maximum context length is {profile.window} tokens. However, your"
        f" messages resulted in {usage.input} tokens.",
        kind="context_length_exceeded",
    )
