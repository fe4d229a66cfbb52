<?php

declare(strict_types=1);

namespace Errands\Jobs;

use Errands\Data\ReportCsv;
use Errands\Data\ReportDataSource;
use Errands\Data\ReportOutput;
use Errands\Data\ReportOwnTemplate;
use Errands\Data\ReportPdf;
use Errands\Job;

/** Render a built-in template, or `own`, with data; the schema of a template's data is told by its README. */
final class ReportJob extends Job
{
    public const TYPE = 'dev.errands.report.requested.v1';
    protected const MAPS = ['data'];

    /** @param string $template such as invoice */
    public function template(string $template): static
    {
        return $this->put('template', $template);
    }

    public function own(ReportOwnTemplate $own): static
    {
        return $this->put('own', $own);
    }

    /** @param array<string, mixed>|\stdClass $data */
    public function data(array|\stdClass $data): static
    {
        return $this->put('data', $data);
    }

    public function dataSource(ReportDataSource $dataSource): static
    {
        return $this->put('data_source', $dataSource);
    }

    /**
     * One document to make from the template's single run; `csv` and `xlsx` hold the rows of its tables.
     *
     * @param string $name a file's name in any language, no path
     * @param 'csv'|'html'|'pdf'|'xlsx'|null $format default: pdf
     */
    public function output(
        string $name,
        ?string $format = null,
        ?ReportPdf $pdf = null,
        ?ReportCsv $csv = null,
    ): static {
        return $this->add('outputs', new ReportOutput($name, $format, $pdf, $csv));
    }

    /** @param 'fail'|'warn' $onMissing of a picture, style sheet or font that cannot be had; default: fail */
    public function onMissing(string $onMissing): static
    {
        return $this->put('on_missing', $onMissing);
    }
}
