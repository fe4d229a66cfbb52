<?php

declare(strict_types=1);

namespace Errands;

/** The job cannot be sent as it is; the message names the field. */
final class InvalidJob extends Exception
{
}
