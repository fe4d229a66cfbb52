<?php

declare(strict_types=1);

namespace Errands\Data;

/**
 * How a PDF is made; what is left out is the template's own.
 *
 * The variants are claims: `warnings` names what of an own template is against them, as far as it is seen. `factur-x`
 * is the e-invoice of the template `invoice`: a PDF/A-3b that holds its XML (ZUGFeRD 2, profile EN 16931).
 */
final class ReportPdf extends Fields
{
    /**
     * @param 'A3'|'A4'|'A5'|'A6'|'B4'|'B5'|'ledger'|'legal'|'letter'|null $size
     * @param int|float|null $widthMm
     * @param int|float|null $heightMm
     * @param 'landscape'|'portrait'|null $orientation
     * @param bool|null $bookmarks default: true
     * @param bool|null $tagged for screen readers; default: all but long tables
     * @param list<ReportAttachment>|null $attachments
     * @param 'factur-x'|'pdf/a-2b'|'pdf/a-3b'|'pdf/ua-1'|null $variant
     * @param list<array<string, string>>|null $before PDFs to join, in front
     * @param list<array<string, string>>|null $after PDFs to join, at the end
     */
    public function __construct(
        ?string $size = null,
        int|float|null $widthMm = null,
        int|float|null $heightMm = null,
        ?string $orientation = null,
        ?ReportMargin $margin = null,
        ?ReportRunning $header = null,
        ?ReportRunning $footer = null,
        ?ReportContents $contents = null,
        ?bool $bookmarks = null,
        ?bool $tagged = null,
        ?ReportMetadata $metadata = null,
        ?array $attachments = null,
        ?ReportWatermark $watermark = null,
        ?string $variant = null,
        ?ReportEncryption $encryption = null,
        ?array $before = null,
        ?array $after = null,
    ) {
        parent::__construct([
            'size' => $size,
            'width_mm' => $widthMm,
            'height_mm' => $heightMm,
            'orientation' => $orientation,
            'margin' => $margin,
            'header' => $header,
            'footer' => $footer,
            'contents' => $contents,
            'bookmarks' => $bookmarks,
            'tagged' => $tagged,
            'metadata' => $metadata,
            'attachments' => $attachments,
            'watermark' => $watermark,
            'variant' => $variant,
            'encryption' => $encryption,
            'before' => $before,
            'after' => $after,
        ]);
    }
}
